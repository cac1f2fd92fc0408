package query

// QuantileOf gives the quantile of floats as an aggregate would.
func QuantileOf(values []float64, share float64) float64 {
	n := numbers{sketch: &sketch{}}
	for _, v := range values {
		n.addFloat(v)
	}
	return n.quantile(aggregate{fn: fnQuantile, share: share, of: field{fieldInfo: findField("data"), path: []string{"x"}}}).Float
}
