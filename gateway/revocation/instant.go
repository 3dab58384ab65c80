package revocation

import (
	"time"

	"golang.org/x/crypto/cryptobyte"

	"egov-gateway/gateway/trust"
)

// utcSeconds reads YYMMDDHHMMSSZ into seconds since 1970; time.Parse would be most of the
// time that a large CRL takes.
func utcSeconds(b []byte) (int64, bool) {
	var f [6]int
	for i := range f {
		hi, lo := b[2*i]-'0', b[2*i+1]-'0'
		if hi > 9 || lo > 9 {
			return 0, false
		}
		f[i] = int(hi)*10 + int(lo)
	}
	year := 2000 + f[0]
	if f[0] >= 50 {
		year = 1900 + f[0]
	}
	month, day := f[1], f[2]
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || f[3] > 23 || f[4] > 59 || f[5] > 59 {
		return 0, false
	}
	// Days since 1970 by the civil calendar that starts its years in March.
	y, m := year, month
	if m <= 2 {
		y, m = y-1, m+12
	}
	days := 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + day - 719469
	return int64(days)*86400 + int64(f[3]*3600+f[4]*60+f[5]), true
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

func generalSeconds(s *cryptobyte.String) (int64, bool) {
	var t time.Time
	if !trust.ReadTime(s, &t) {
		return 0, false
	}
	return t.Unix(), true
}
