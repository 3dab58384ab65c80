package gateway

import (
	"crypto/subtle"
	"strconv"
	"time"
)

// An IIN is a valid individual identification number (ИИН) of twelve digits; the only
// way to get one is [ParseIIN] or, for chains that end in a test anchor, [ParseTestIIN].
// Source: government resolution 565 of 11.06.2003.
type IIN struct{ digits string }

// ParseIIN checks length, digits, the birth date, the century digit and the check digit.
// The error carries [IINInvalid] and never the number itself.
func ParseIIN(s string) (IIN, error) {
	if !twelveDigits(s) {
		return IIN{}, Errorf(IINInvalid, "an IIN has twelve digits 0-9")
	}
	if c := s[6]; c > '6' {
		return IIN{}, Errorf(IINInvalid, "the seventh digit of an IIN is 0 to 6")
	}
	if !monthDay(s[2:4], s[4:6]) {
		return IIN{}, Errorf(IINInvalid, "an IIN starts with a birth date YYMMDD")
	}
	if !checkDigit(s) {
		return IIN{}, Errorf(IINInvalid, "the check digit of the IIN is wrong")
	}
	return IIN{s}, nil
}

// ParseTestIIN accepts any twelve digits. The NCA's test certificates carry numbers that
// break the rules on purpose (month 34, wrong check digit); it must be reachable only for
// certificates whose path ends in an anchor configured as a test anchor.
func ParseTestIIN(s string) (IIN, error) {
	if !twelveDigits(s) {
		return IIN{}, Errorf(IINInvalid, "an IIN has twelve digits 0-9")
	}
	return IIN{s}, nil
}

// String hides all but the last four digits, so an IIN passed to a logger is masked.
func (n IIN) String() string {
	if n.digits == "" {
		return "IIN(none)"
	}
	return "********" + n.digits[8:]
}

// GoString masks %#v as String masks %v.
func (n IIN) GoString() string { return n.String() }

// Reveal returns all twelve digits, for wire encoders only.
func (n IIN) Reveal() string { return n.digits }

// BirthDate is the date the IIN names; false for a foreigner's number, which has no century,
// and for a date that does not exist.
func (n IIN) BirthDate() (time.Time, bool) {
	if n.digits == "" || n.digits[6] == '0' || n.digits[6] > '6' {
		return time.Time{}, false
	}
	century := 18 + int(n.digits[6]-'1')/2
	t, err := time.Parse("20060102", strconv.Itoa(century)+n.digits[:6])
	return t, err == nil
}

// Adult reports whether the person is eighteen at the instant at: from the first moment of the birthday in
// zone, where the person lives. Somebody whose birth date is not known counts as an adult.
func (n IIN) Adult(at time.Time, zone *time.Location) bool {
	born, ok := n.BirthDate()
	y, m, d := born.Date()
	return !ok || !time.Date(y+18, m, d, 0, 0, 0, 0, zone).After(at)
}

// IsZero reports whether n was never parsed.
func (n IIN) IsZero() bool { return n.digits == "" }

// Equal compares in constant time. Two zero values are not equal: nobody is nobody.
func (n IIN) Equal(m IIN) bool {
	return n.digits != "" && subtle.ConstantTimeCompare([]byte(n.digits), []byte(m.digits)) == 1
}

// A BIN is a valid business identification number (БИН) of twelve digits, made by
// [ParseBIN] or [ParseTestBIN]. It names an organisation and may be printed.
type BIN struct{ digits string }

// ParseBIN checks length, digits, registration month, the kind digit 4 to 6 and the check digit.
func ParseBIN(s string) (BIN, error) {
	if !twelveDigits(s) {
		return BIN{}, Errorf(BINInvalid, "a BIN has twelve digits 0-9")
	}
	if !monthDay(s[2:4], "01") || s[4] < '4' || s[4] > '6' {
		return BIN{}, Errorf(BINInvalid, "a BIN starts with YYMM and a kind digit 4 to 6")
	}
	if !checkDigit(s) {
		return BIN{}, Errorf(BINInvalid, "the check digit of the BIN is wrong")
	}
	return BIN{s}, nil
}

// ParseTestBIN accepts any twelve digits, under the same condition as [ParseTestIIN].
func ParseTestBIN(s string) (BIN, error) {
	if !twelveDigits(s) {
		return BIN{}, Errorf(BINInvalid, "a BIN has twelve digits 0-9")
	}
	return BIN{s}, nil
}

func (n BIN) String() string { return n.digits }

// IsZero reports whether n was never parsed.
func (n BIN) IsZero() bool { return n.digits == "" }

// Equal compares in constant time; two zero values are not equal.
func (n BIN) Equal(m BIN) bool {
	return n.digits != "" && subtle.ConstantTimeCompare([]byte(n.digits), []byte(m.digits)) == 1
}

func twelveDigits(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func monthDay(mm, dd string) bool {
	m := int(mm[0]-'0')*10 + int(mm[1]-'0')
	d := int(dd[0]-'0')*10 + int(dd[1]-'0')
	if m < 1 || m > 12 || d < 1 {
		return false
	}
	return d <= [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[m-1]
}

// checkDigit weighs the first eleven digits by 1..11 modulo 11, and again by 3..11,1,2 when
// the first pass gives 10; a number whose second pass gives 10 is never issued.
func checkDigit(s string) bool {
	sum := func(shift int) int {
		t := 0
		for i := range 11 {
			t += int(s[i]-'0') * ((i+shift)%11 + 1)
		}
		return t % 11
	}
	c := sum(0)
	if c == 10 {
		c = sum(2)
	}
	return c < 10 && c == int(s[11]-'0')
}
