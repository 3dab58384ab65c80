package xmlsig

import (
	"bytes"
	"strings"
)

type uriParts struct {
	scheme, authority, path, query    string
	hasScheme, hasAuthority, hasQuery bool
}

// splitURI splits a URI reference (RFC 3986 appendix B); the fragment is dropped.
func splitURI(s string) (u uriParts) {
	s, _, _ = strings.Cut(s, "#")
	if hasScheme([]byte(s)) {
		u.scheme, s, _ = strings.Cut(s, ":")
		u.hasScheme = true
	}
	s, u.query, u.hasQuery = strings.Cut(s, "?")
	if strings.HasPrefix(s, "//") {
		u.hasAuthority = true
		u.authority = s[2:]
		s = ""
		if i := strings.IndexByte(u.authority, '/'); i >= 0 {
			u.authority, s = u.authority[:i], u.authority[i:]
		}
	}
	u.path = s
	return u
}

// joinURI is join-URI-References of Canonical XML 1.1, appendix A: RFC 3986 §5.2 for a base
// that may itself be relative, keeping the leading ".." segments.
func joinURI(base, ref string) string {
	b, r := splitURI(base), splitURI(ref)
	if b.path == ".." || strings.HasSuffix(b.path, "/..") {
		b.path += "/"
	}
	t := r
	switch {
	case r.hasScheme:
		t.path = removeDots(r.path)
	case r.hasAuthority:
		t.path = removeDots(r.path)
		t.scheme, t.hasScheme = b.scheme, b.hasScheme
	default:
		switch {
		case r.path == "":
			t.path = b.path
			if !r.hasQuery {
				t.query, t.hasQuery = b.query, b.hasQuery
			}
		case r.path[0] == '/':
			t.path = removeDots(r.path)
		case b.hasAuthority && b.path == "":
			t.path = removeDots("/" + r.path)
		default:
			t.path = removeDots(b.path[:strings.LastIndexByte(b.path, '/')+1] + r.path)
		}
		t.scheme, t.hasScheme, t.authority, t.hasAuthority = b.scheme, b.hasScheme, b.authority, b.hasAuthority
	}
	var out strings.Builder
	if t.hasScheme {
		out.WriteString(t.scheme + ":")
	}
	if t.hasAuthority {
		out.WriteString("//" + t.authority)
	}
	out.WriteString(t.path)
	if t.hasQuery {
		out.WriteString("?" + t.query)
	}
	return out.String()
}

// removeDots removes dot segments and doubled slashes; ".." that nothing precedes stays, and a
// trailing ".." gets its slash.
func removeDots(path string) string {
	rooted := strings.HasPrefix(path, "/")
	out := make([]byte, 0, len(path)+1) // the segments kept, each behind a slash
	slash := false                      // whether a slash follows the last segment kept
	for rest, last := path, false; !last; {
		var segment string
		segment, rest, last = strings.Cut(rest, "/")
		last = !last
		switch segment {
		case "":
			slash = last && (len(out) > 0 || slash)
		case ".":
			slash = last
		case "..":
			top := bytes.LastIndexByte(out, '/')
			switch {
			case top >= 0 && string(out[top:]) != "/..":
				out = out[:top]
			case !rooted:
				out = append(out, "/.."...)
			}
			slash = last
		default:
			out = append(append(out, '/'), segment...)
			slash = false
		}
	}
	if slash && len(out) > 0 {
		out = append(out, '/')
	}
	switch {
	case !rooted && len(out) > 0:
		out = out[1:]
	case rooted && len(out) == 0:
		out = append(out, '/')
	}
	return string(out)
}
