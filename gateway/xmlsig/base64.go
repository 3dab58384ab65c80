package xmlsig

// decodeBase64 appends what src says in strict base64 (RFC 4648 §4) with XML white space
// between the digits: padding is complete, nothing follows it, unused bits are zero. It stops
// soon after dst is longer than limit.
func decodeBase64(dst, src []byte, limit int) ([]byte, bool) {
	var quantum uint32
	digits, padding := 0, 0
	for i := 0; i < len(src) && len(dst) <= limit; i++ {
		for digits == 0 && padding == 0 && i+4 <= len(src) && len(dst) <= limit { // almost always
			a, b, c, d := base64Digit[src[i]], base64Digit[src[i+1]], base64Digit[src[i+2]], base64Digit[src[i+3]]
			if a|b|c|d < 0 {
				break
			}
			q := uint32(a)<<18 | uint32(b)<<12 | uint32(c)<<6 | uint32(d)
			dst = append(dst, byte(q>>16), byte(q>>8), byte(q))
			i += 4
		}
		if i == len(src) {
			break
		}
		c := src[i]
		if isSpace(c) {
			continue
		}
		if c == '=' {
			if padding++; digits+padding > 4 || digits < 2 {
				return dst, false
			}
			continue
		}
		v := base64Digit[c]
		if v < 0 || padding > 0 {
			return dst, false
		}
		quantum = quantum<<6 | uint32(v)
		if digits++; digits == 4 {
			dst = append(dst, byte(quantum>>16), byte(quantum>>8), byte(quantum))
			quantum, digits = 0, 0
		}
	}
	switch {
	case digits == 0 && padding == 0:
		return dst, true
	case digits+padding != 4:
		return dst, false
	case digits == 2 && quantum&0xF == 0:
		return append(dst, byte(quantum>>4)), true
	case digits == 3 && quantum&0x3 == 0:
		return append(dst, byte(quantum>>10), byte(quantum>>2)), true
	}
	return dst, false
}

var base64Digit = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = int8(i)
	}
	return t
}()
