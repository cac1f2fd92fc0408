package capture

func openProcess(int) (int, error) { return -1, nil }

// executable is unknown: the launcher names it.
func (p *process) executable() string { return "" }
