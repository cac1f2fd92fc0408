package config

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size.
type Bytes int64

// Binary units.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

var byteUnits = map[string]int64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

var errBytes = errors.New("it is not a size, as 64MiB, 1.5GB or 4096")

// ParseBytes reads a size: a number, with a unit or without: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB.
func ParseBytes(text string) (Bytes, error) {
	end := strings.LastIndexAny(text, "0123456789.") + 1
	digits, unit := text[:end], strings.ToLower(strings.TrimSpace(text[end:]))
	factor, known := byteUnits[unit]
	switch {
	case !known && (unit == "k" || unit == "m" || unit == "g" || unit == "t"):
		return 0, fmt.Errorf("its unit can be read in two ways: write %s%siB or %s%sB", digits, strings.ToUpper(unit), digits, strings.ToUpper(unit))
	case !known || digits == "" || strings.Trim(digits, "0123456789.") != "":
		return 0, errBytes
	}
	v, ok := new(big.Rat).SetString(digits)
	if !ok || len(digits) > 40 {
		return 0, errBytes
	}
	v.Mul(v, new(big.Rat).SetInt64(factor))
	if !v.IsInt() {
		return 0, errors.New("it is not a whole number of bytes")
	}
	if !v.Num().IsInt64() {
		return 0, errors.New("it is more than can be counted")
	}
	return Bytes(v.Num().Int64()), nil
}

// String gives the size in the largest binary unit in which it is a whole number.
func (b Bytes) String() string {
	unit := ""
	v := int64(b)
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v == 0 || v%1024 != 0 {
			break
		}
		v, unit = v/1024, u
	}
	if unit == "" && v != 0 {
		unit = "B"
	}
	return strconv.FormatInt(v, 10) + unit
}

const day = 24 * time.Hour

// ParseDuration reads a duration with its units, as 100ms, 1h30m or 30d; and 0.
func ParseDuration(text string) (time.Duration, error) {
	rest := text
	var days time.Duration
	if digits, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil {
			return 0, errors.New("it is not a duration, as 100ms, 1h30m or 30d")
		}
		if days, rest = time.Duration(n)*day, after; rest == "" { // #nosec G115 -- 16 bits
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return 0, fmt.Errorf("it has no unit: write %sms or %ss", text, text)
		}
		return 0, errors.New("it is not a duration, as 100ms, 1h30m or 30d")
	}
	if days+d < days && d > 0 {
		return 0, errors.New("it is longer than can be counted")
	}
	return days + d, nil
}

// FormatDuration gives a duration as ParseDuration reads it, without the units that are zero.
func FormatDuration(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	if text == "0s" {
		return "0"
	}
	return text
}
