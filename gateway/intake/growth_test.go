package intake_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway/harness/growth"
	"egov-gateway/gateway/intake"
)

// What a portal's program puts into a multipart body costs, before anything in it is believed, time and
// memory by its length alone.
func TestHostileMultipartBodiesAreLinear(t *testing.T) {
	const boundary = "edge"
	part := func(header, content string) string {
		return "--" + boundary + "\r\n" + header + "\r\n\r\n" + content + "\r\n"
	}
	request := part(`Content-Disposition: form-data; name="request"`, "<a/>")
	file := func(content string) string {
		return part(`Content-Disposition: form-data; name="file"; filename="a.pdf"`, content)
	}
	end := "--" + boundary + "--\r\n"
	fill := func(s string, n int) string { return strings.Repeat(s, n/len(s)+1) }
	numbered := func(format string, n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	tests := []struct {
		name     string
		body     func(n int) string
		boundary string
	}{
		{"one long part", func(n int) string { return request + file(fill("x", n)) + end }, ""},
		{"parts without end", func(n int) string { return fill(file("x"), n) }, ""},
		{"empty parts", func(n int) string { return fill("--"+boundary+"\r\n\r\n\r\n", n) + end }, ""},
		{"what is nearly a boundary", func(n int) string { return file(fill("\r\n--edg", n)) + end }, ""},
		{"a boundary with letters behind it", func(n int) string { return file(fill("\r\n--edgex", n)) + end }, ""},
		{"line ends", func(n int) string { return file(fill("\r\n", n)) + end }, ""},
		{"hyphens", func(n int) string { return file(fill("-", n)) + end }, ""},
		{"white space behind the boundary", func(n int) string { return "--" + boundary + fill(" ", n) + "\r\n\r\nx\r\n" + end }, ""},
		{"a preamble without end", func(n int) string { return fill("preamble\r\n", n) }, ""},
		{"a preamble of boundaries of another", func(n int) string { return fill("--other\r\n", n) + request + end }, ""},
		{"a header without end", func(n int) string { return "--" + boundary + "\r\nA: " + fill("x", n) }, ""},
		{"many headers", func(n int) string { return "--" + boundary + "\r\n" + numbered("A%d: b\r\n", n) + "\r\nx\r\n" + end }, ""},
		{"one header many times", func(n int) string { return "--" + boundary + "\r\n" + fill("A: b\r\n", n) + "\r\nx\r\n" + end }, ""},
		{"a folded header", func(n int) string { return "--" + boundary + "\r\nA: b\r\n" + fill(" c\r\n", n) + "\r\nx\r\n" + end }, ""},
		{"many parameters", func(n int) string {
			return part(`Content-Disposition: form-data`+numbered("; a%d=b", n), "x") + end
		}, ""},
		{"a long name", func(n int) string { return part(`Content-Disposition: form-data; name="`+fill("n", n)+`"`, "x") + end }, ""},
		{"an escaped name", func(n int) string { return part(`Content-Disposition: form-data; name="`+fill(`\"`, n)+`"`, "x") + end }, ""},
		{"pieces of a name", func(n int) string {
			return part(`Content-Disposition: form-data`+numbered("; name*%d=a", n), "x") + end
		}, ""},
		{"an encoded name", func(n int) string {
			return part(`Content-Disposition: form-data; name*=utf-8''`+fill("%41", n), "x") + end
		}, ""},
		{"a boundary of hyphens", func(n int) string { return fill("-", n) }, strings.Repeat("-", 70)},
	}
	mux := http.NewServeMux()
	openDoor(t, intake.Config{Portals: portals(nil), MaxBody: 8 << 20}).Register(mux)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edge := boundary
			if tt.boundary != "" {
				edge = tt.boundary
			}
			post := func(body string) int {
				r := httptest.NewRequest(http.MethodPost, "/v1/requests", strings.NewReader(body))
				r.Header.Set("Content-Type", `multipart/form-data; boundary="`+edge+`"`)
				r.Header.Set("Authorization", "Bearer egov.kz")
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, r)
				return w.Code
			}
			var bodies [4][]byte
			for i, n := range []int{64 << 10, 128 << 10, 256 << 10, 512 << 10} {
				bodies[i] = []byte(tt.body(n))
				if code := post(string(bodies[i])); code < 400 || code > 499 {
					t.Fatalf("%d octets are answered %d", len(bodies[i]), code)
				}
			}
			growth.Check(t, growth.Shape{Inputs: bodies, Runs: 5, Floor: 50 * time.Microsecond,
				Work: func(body []byte) { post(string(body)) }, Memory: func(octets int) int { return 12*octets + 256<<10 }})
		})
	}
}
