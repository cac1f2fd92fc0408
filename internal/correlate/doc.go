// Package correlate works out which event caused which.
package correlate
