package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
)

// At these addresses of loopback stand an honest participant, and strangers.
const honestAddress, strangersAddress = "127.0.0.2", "127.0.0.3"

// clientAt is a client that calls from an address of its own.
func clientAt(address string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 10 * time.Second}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext}, Timeout: 30 * time.Second}
}

// begin opens a connection from an address and sends the beginning of a request.
func begin(t *testing.T, l *lab, address, request string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := d.Dial("tcp", strings.TrimPrefix(l.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// newDoorsLab is a lab that knows egov.kz at SHEP's door by its address.
func newDoorsLab(t *testing.T, change func(*Config)) *lab {
	t.Helper()
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.mustReconfigure(t, func(c *Config) {
		for i := range c.SHEP.Participants {
			if c.SHEP.Participants[i].SenderID == "EGOV" {
				c.SHEP.Participants[i].Addresses = []netip.Prefix{netip.MustParsePrefix(honestAddress + "/32")}
			}
		}
		if change != nil {
			change(c)
		}
	})
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	return l
}

// heap is what is in use, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

const announces15MB = "POST /shep/sync HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 15728640\r\n\r\n<a"

// Strangers who announce much and bring nothing take no memory.
func TestAnnouncedLengthsTakeNoMemory(t *testing.T) {
	l := newDoorsLab(t, nil)
	before := heap()
	for range 130 {
		begin(t, l, strangersAddress, announces15MB)
	}
	time.Sleep(300 * time.Millisecond)
	if used := heap() - before; used > 64<<20 {
		t.Errorf("%d MB for 260 bytes", used>>20)
	}
}

// soapFrom posts a message from an address and returns the reason of a fault.
func (l *lab) soapFrom(t *testing.T, client *http.Client, p shep.Payload) (gateway.Reason, error) {
	t.Helper()
	resp, err := client.Post(l.base+"/shep/sync", "text/xml", bytes.NewReader(l.envelope(t, "", p)))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	opened, err := shep.Open(body, shep.OpenOptions{MaxBytes: 16 << 20})
	if err != nil {
		return "", fmt.Errorf("%w in %s", err, body)
	}
	f, ok := opened.Payload.(*shep.Fault)
	if !ok {
		return "", nil
	}
	reason, _, _ := strings.Cut(f.Info.Data, ":")
	return gateway.Reason(reason), nil
}

// Strangers who hold all that strangers may have keep out strangers, and nobody else; whoever asks
// for health is told.
func TestStrangersDoNotShutSHEPsDoor(t *testing.T) {
	l := newDoorsLab(t, nil)
	for n := range 1100 {
		begin(t, l, fmt.Sprintf("127.0.%d.3", 1+n%100), announces15MB)
	}
	honest := clientAt(honestAddress)
	for range 5 {
		m := l.message(text(l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01")))
		if reason, err := l.soapFrom(t, honest, m); reason != "" || err != nil {
			t.Fatalf("a known participant: %q %v", reason, err)
		}
	}
	// Those of before have lost their places by now.
	var reason gateway.Reason
	for n := 0; n < 20 && reason != gateway.Overload; n++ {
		for i := range 80 {
			begin(t, l, fmt.Sprintf("127.1.%d.3", i), strings.Replace(announces15MB, "15728640", "1000", 1))
		}
		var err error
		if reason, err = l.soapFrom(t, clientAt(strangersAddress), l.message(text("<a/>"))); err != nil {
			t.Fatal(err)
		}
	}
	if reason != gateway.Overload {
		t.Errorf("a stranger: %q", reason)
	}
	status, _, body := call(t, http.MethodGet, l.admin+"/readyz", nil)
	if status != http.StatusOK || !strings.Contains(string(body), `"door-shep":"full for stranger"`) {
		t.Errorf("/readyz: %d %s", status, body)
	}
}

// A stranger who brings a byte a second is sent away before ten seconds are over.
func TestAStrangerWhoIsSlowIsSentAway(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	l := newDoorsLab(t, nil)
	conn := begin(t, l, strangersAddress, announces15MB)
	conn.SetReadDeadline(time.Now().Add(25 * time.Second)) //nolint:errcheck // the read tells
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), string(gateway.BodyTruncated)) || !resp.Close {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// The ids of a message are bounded, and what is remembered of them does not grow with them.
func TestMessageIDsAreBounded(t *testing.T) {
	l := newDoorsLab(t, nil)
	tests := []struct {
		name   string
		change func(*shep.Message)
		want   gateway.Reason
	}{
		{"as long as it may be", func(m *shep.Message) { m.ID = strings.Repeat("x", 256) }, ""},
		{"a message id", func(m *shep.Message) { m.ID = strings.Repeat("x", 257) }, gateway.DocumentMalformed},
		{"a chain's id", func(m *shep.Message) { m.CorrelationID = strings.Repeat("x", 257) }, gateway.DocumentMalformed},
		{"a service's id", func(m *shep.Message) { m.ServiceID = strings.Repeat("x", 257) }, gateway.DocumentMalformed},
		{"a message id of a megabyte", func(m *shep.Message) { m.ID = strings.Repeat("x", 1<<20) }, gateway.DocumentMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := l.message(text(l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01")))
			tt.change(m)
			if reason, err := l.soapFrom(t, clientAt(honestAddress), m); reason != tt.want || err != nil {
				t.Errorf("%q %v, want %q", reason, err, tt.want)
			}
		})
	}
}

// A portal's uploads that bring nothing leave the other portals theirs, are cut off after seconds, and
// a length that is too large is refused before the client is asked to go on.
func TestAPortalsSilentUploads(t *testing.T) {
	token := secret()
	l := newDoorsLab(t, func(c *Config) {
		if err := os.WriteFile(filepath.Join(c.dir, "portal3.token"), []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		c.Portals = append(c.Portals, Portal{Name: "portal3.kz", TokenFile: "portal3.token", Concurrent: 4})
	})
	head := "POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\nAuthorization: Bearer " + token + "\r\n"
	var silent []net.Conn
	for range 40 {
		silent = append(silent, begin(t, l, strangersAddress, head+"Content-Length: 8388608\r\n\r\n<"))
	}
	for range 5 {
		if status, _, body := l.restPost(t, []byte(l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01"))); status != http.StatusAccepted {
			t.Fatalf("another portal: %d %s", status, body)
		}
	}
	conn := begin(t, l, strangersAddress, head+"Content-Length: 8388609\r\nExpect: 100-continue\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	// The share of that portal may be used up, which is told first.
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge && resp.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("a length that is too large: %v %v", resp, err)
	}
	if testing.Short() {
		return
	}
	answers := map[int]int{}
	for _, c := range silent {
		c.SetReadDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the read tells
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		answers[resp.StatusCode]++
	}
	if answers[http.StatusRequestTimeout] == 0 || answers[http.StatusTooManyRequests] == 0 || len(answers) != 2 {
		t.Errorf("answers by status: %v", answers)
	}
}

// REST refuses a length that is too large before it asks the client to send it.
func TestNobodyIsAskedToSendWhatIsRefused(t *testing.T) {
	l := newDoorsLab(t, nil)
	for name, kind := range map[string]string{"a document": "application/xml", "several parts": "multipart/form-data; boundary=x"} {
		conn := begin(t, l, strangersAddress, "POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Type: "+kind+"\r\nAuthorization: Bearer "+l.token+
			"\r\nContent-Length: 8388609\r\nExpect: 100-continue\r\n\r\n")
		conn.SetReadDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the read tells
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %v %v", name, resp, err)
		}
	}
}

// Whoever holds all connections that strangers may have keeps out neither known parties nor those who
// ask for health, and they are told.
func TestConnectionsOfStrangersAreBounded(t *testing.T) {
	l := newDoorsLab(t, func(c *Config) { c.Limits.Connections = 40 })
	knock := func() {
		for n := range 120 {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprintf("127.2.%d.3", n))}}
			conn, err := d.Dial("tcp", strings.TrimPrefix(l.base, "http://"))
			if err != nil {
				continue // closed before it was there
			}
			t.Cleanup(func() { conn.Close() })
			io.WriteString(conn, "POST /shep/sync HTTP/1.1\r\n") //nolint:errcheck // it may be closed already
		}
	}
	knock()
	if reason, err := l.soapFrom(t, clientAt(honestAddress), l.message(text(l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01")))); reason != "" || err != nil {
		t.Errorf("a known participant: %q %v", reason, err)
	}
	if status, _, _ := get(t, l.admin+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
	knock()
	status, _, body := get(t, l.admin+"/readyz")
	if status != http.StatusOK || !strings.Contains(string(body), `"connections":"connections are closed at once"`) {
		t.Errorf("/readyz: %d %s", status, body)
	}
	_, _, metrics := get(t, l.admin+"/metrics")
	if !bytes.Contains(metrics, []byte(`egov_gateway_connections_limit{server="doors"} 40`)) {
		t.Error("/metrics does not say how many there may be")
	}
	if refused := `egov_gateway_connections_refused_total{bound="total",server="doors"} `; bytes.Contains(metrics, []byte(refused+"0")) || !bytes.Contains(metrics, []byte(refused)) {
		t.Error("/metrics does not say that connections were closed")
	}
}

// Forms that do not come take no places at the cabinet, not even from a citizen at the same address.
func TestSilentFormsShutTheCabinetForNobody(t *testing.T) {
	l := newDoorsLab(t, nil)
	for range cabinetPlaces / 4 { // as many places as one address may have
		begin(t, l, strangersAddress, "POST /cabinet/session HTTP/1.1\r\nHost: x\r\n"+
			"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nt")
	}
	for range 20 {
		status, header, page := callAs(t, clientAt(strangersAddress), http.MethodGet, l.base+"/cabinet/", nil, "Accept-Language", "ru")
		if status != http.StatusUnauthorized || !strings.HasPrefix(header.Get("Content-Type"), "text/html") || !bytes.Contains(page, []byte("Вы не вошли")) {
			t.Fatalf("%d %s", status, page)
		}
	}
}

// Every door says in the metrics how full it is, and whom it sent away; no address stands there.
func TestEveryDoorIsMeasured(t *testing.T) {
	l := newDoorsLab(t, func(c *Config) { c.Portals[0].Concurrent = 1 })
	inside := []byte(`egov_gateway_door_places{door="rest",room="known"} 1`)
	var conn net.Conn
	var metrics []byte
	// A silent upload keeps its place for some seconds only: on a busy machine another one has to follow.
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end) && conn == nil; {
		conn = begin(t, l, strangersAddress, "POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\nAuthorization: Bearer "+l.token+"\r\nContent-Length: 100\r\n\r\n<")
		for wait := time.Now().Add(3 * time.Second); time.Now().Before(wait) && !bytes.Contains(metrics, inside); time.Sleep(10 * time.Millisecond) {
			_, _, metrics = get(t, l.admin+"/metrics")
		}
		status, _, _ := l.restPost(t, []byte("<a/>"))
		if _, _, metrics = get(t, l.admin+"/metrics"); status != http.StatusTooManyRequests || !bytes.Contains(metrics, inside) {
			conn.Close()
			conn, metrics = nil, nil
		}
	}
	if conn == nil {
		t.Fatal("the portal's upload never kept its place for as long as it takes to look")
	}
	for _, want := range []string{
		`egov_gateway_door_places{door="rest",room="known"} 1`, `egov_gateway_door_places_limit{door="rest",room="known"} 1024`, `egov_gateway_door_limit_bytes{door="shep",room="strangers"}`,
		`egov_gateway_door_places{door="provider",room="known"} 0`, `egov_gateway_door_places{door="desk",room="known"} 0`, `egov_gateway_door_places{door="cabinet",room="strangers"} 0`,
		`egov_gateway_door_places{door="console",room="strangers"} 0`, `egov_gateway_door_refused_total{door="rest",party="egov.kz",reason="door.portal_limit"}`, `egov_gateway_turns_waiting 0`,
	} {
		if !bytes.Contains(metrics, []byte(want)) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	if bytes.Contains(metrics, []byte("127.0.0.")) {
		t.Error("an address stands in the metrics")
	}
	conn.Close()
}

// A citizen has so many requests for a service within an hour as the passport says. The answer says
// when the next one is taken; what was accepted before is answered with its receipt.
func TestACitizenHasAQuota(t *testing.T) {
	l := newDoorsLab(t, func(c *Config) { c.Limits.PerCitizenOff = false })
	var first []byte
	for n := range 10 {
		doc := []byte(l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01"))
		if status, _, body := l.restPost(t, doc); status != http.StatusAccepted {
			t.Fatalf("number %d: %d %s", n+1, status, body)
		}
		if first == nil {
			first = doc
		}
	}
	began := l.clock.Now()
	more := func() (int, http.Header, []byte) {
		return l.restPost(t, []byte(l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01")))
	}
	status, header, body := more()
	p := problemOf(t, body)
	if status != http.StatusTooManyRequests || p.Reason != gateway.CitizenLimit {
		t.Fatalf("%d %s", status, body)
	}
	if after, err := strconv.Atoi(header.Get("Retry-After")); err != nil || after < 3500 || after > 3600 {
		t.Errorf("Retry-After: %s", header.Get("Retry-After"))
	}
	for _, lang := range gateway.Languages {
		if !strings.Contains(p.Titles[lang], "11:00") { // an hour after ten in Almaty
			t.Errorf("%s: %s", lang, p.Titles[lang])
		}
	}
	if status, _, body := l.restPost(t, first); status != http.StatusAccepted {
		t.Errorf("what was accepted before: %d %s", status, body)
	}
	if reason, err := l.soapFrom(t, clientAt(honestAddress), l.message(text(l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01")))); reason != gateway.CitizenLimit || err != nil {
		t.Errorf("at SHEP's door: %q %v", reason, err)
	}
	if a := l.mustSubmit(t, l.draft("citizen-02", taraz), "citizen-02"); a.status != http.StatusAccepted {
		t.Errorf("another citizen: %d %s", a.status, a.body)
	}
	l.clock.HopTo(began.Add(time.Hour))
	if status, _, body := more(); status != http.StatusAccepted {
		t.Errorf("an hour later: %d %s", status, body)
	}
}

// A stranger's message that is made of tags is weighed before it is looked into.
func TestTagsOfStrangersAreWeighed(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	l := newDoorsLab(t, nil)
	m := l.message(text("<a/>"))
	m.SenderID, m.Password = "NOBODY", ""
	envelope := bytes.Replace(l.envelope(t, "", m), []byte("&lt;a/&gt;"), []byte(strings.Repeat("<a/>", 250_000)), 1)
	before, most := heap(), watchHeap()
	var wg sync.WaitGroup
	for n := range 50 {
		client := clientAt(fmt.Sprintf("127.7.%d.3", n))
		wg.Go(func() {
			resp, err := client.Post(l.base+"/shep/sync", "text/xml", bytes.NewReader(envelope))
			if err != nil {
				return // the connection was ended before all was sent
			}
			resp.Body.Close()
		})
	}
	wg.Wait()
	if used := most() - before; used > 400<<20 {
		t.Errorf("%d MB were in use", used>>20)
	} else {
		t.Logf("%d MB were in use at most", used>>20)
	}
}
