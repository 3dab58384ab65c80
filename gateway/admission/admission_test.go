package admission_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
)

// Parties are a, b and c; strangers are told by their addresses, numbers.
func newDoor(known, strangers admission.Room, parties ...admission.Party) *admission.Door {
	return admission.New(admission.Config{}).NewDoor(admission.DoorConfig{Name: "door", Known: known, Strangers: strangers}, parties...)
}

func address(who string) string {
	return map[string]string{"1": "192.0.2.1:4000", "1'": "192.0.2.1:4001", "2": "192.0.2.2:4000", "3": "192.0.2.3:4000",
		"6": "[2001:db8:0:1::1]:1", "6'": "[2001:db8:0:2::2]:1", "7": "[2001:db8:1::1]:1"}[who]
}

func enter(d *admission.Door, who string) (*admission.Place, error) {
	if at := address(who); at != "" {
		return d.Enter("", at)
	}
	return d.Enter(who, "192.0.2.9:1")
}

func TestPlacesAreShared(t *testing.T) {
	a, b := admission.Party{Name: "a"}, admission.Party{Name: "b"}
	tests := []struct {
		name    string
		places  int
		parties []admission.Party
		inside  string
		asks    string
		want    gateway.Reason
		full    bool
	}{
		{"a party has its share and all that is common", 8, []admission.Party{a, b}, "a a a a a", "a", "", false},
		{"a party never has what is kept for another", 8, []admission.Party{a, b}, "a a a a a a", "a", gateway.Overload, false},
		{"the other one finds its share", 8, []admission.Party{a, b}, "a a a a a a", "b", "", false},
		{"all of its share", 8, []admission.Party{a, b}, "a a a a a a b", "b", "", false},
		{"then everything is taken", 8, []admission.Party{a, b}, "a a a a a a b b", "b", gateway.Overload, true},
		{"a bound of its own", 8, []admission.Party{{Name: "a", Most: 2}, b}, "a a", "a", gateway.PortalLimit, false},
		{"known, but without a share", 8, []admission.Party{a, b}, "c c c c", "c", gateway.Overload, false},
		{"strangers do not take what is for the known", 4, []admission.Party{a, b}, "1 2 6 7", "a", "", false},
		{"the known do not take what is for strangers", 4, []admission.Party{a, b}, "a a a", "1", "", false},
		{"an address has a quarter of the strangers' room", 4, nil, "1", "1'", gateway.Overload, false},
		{"another address", 4, nil, "1", "2", "", false},
		{"a network of IPv6 is one address", 4, nil, "6", "6'", gateway.Overload, false},
		{"another network", 4, nil, "6", "7", "", false},
		{"strangers together are bounded", 4, nil, "1 2 6 7", "3", gateway.Overload, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(admission.Room{Places: tt.places}, admission.Room{Places: 4}, tt.parties...)
			var inside []*admission.Place
			for who := range strings.FieldsSeq(tt.inside) {
				p, err := enter(d, who)
				if err != nil {
					t.Fatalf("%s of %s was sent away: %v", who, tt.inside, err)
				}
				inside = append(inside, p)
			}
			p, err := enter(d, tt.asks)
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("%q, want %q", got, tt.want)
			}
			r := d.Report()
			if got := r.Err() != nil; got != tt.full {
				t.Errorf("full: %t", got)
			}
			if sent := len(r.SentAway) > 0; sent != (tt.want != "") {
				t.Errorf("sent away: %v", r.SentAway)
			}
			if p != nil {
				p.Leave()
				p.Leave()
			}
			for _, p := range inside {
				p.Leave()
			}
			if r := d.Report(); r.Known != (admission.Room{}) || r.Strangers != (admission.Room{}) {
				t.Errorf("when all have left: %+v %+v", r.Known, r.Strangers)
			}
		})
	}
}

func TestBytesAreShared(t *testing.T) {
	parties := []admission.Party{{Name: "a"}, {Name: "b"}}
	type take struct {
		who string
		n   int64
	}
	tests := []struct {
		name   string
		inside []take
		asks   take
		want   gateway.Reason
	}{
		{"its share and all that is common", []take{{"a", 50}}, take{"a", 25}, ""},
		{"not what is kept for another", []take{{"a", 50}}, take{"a", 26}, gateway.Overload},
		{"the other one's share", []take{{"a", 75}}, take{"b", 25}, ""},
		{"more than its share, when the common half is taken", []take{{"a", 75}}, take{"b", 26}, gateway.Overload},
		{"alone, a party may have more than there is", nil, take{"a", 300}, ""},
		{"but not beside another", []take{{"b", 1}}, take{"a", 76}, gateway.Overload},
		{"an address has a quarter of the strangers' room", []take{{"1", 1}}, take{"2", 11}, gateway.Overload},
		{"a stranger alone has all of it", nil, take{"1", 40}, ""},
		{"and no more", nil, take{"1", 41}, gateway.Overload},
		{"strangers together", []take{{"1", 10}, {"2", 10}, {"6", 10}}, take{"7", 10}, ""},
		{"strangers do not take what is for the known", []take{{"1", 40}}, take{"a", 75}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(admission.Room{Places: 40, Bytes: 100}, admission.Room{Places: 40, Bytes: 40}, parties...)
			for _, in := range tt.inside {
				p, err := enter(d, in.who)
				if err == nil {
					err = p.Reserve(in.n)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			p, err := enter(d, tt.asks.who)
			if err != nil {
				t.Fatal(err)
			}
			if got := gateway.ReasonOf(p.Reserve(tt.asks.n)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// A door that lets everybody in calls itself full for nobody, though one alone took more than there is.
func TestADoorIsFullOnlyForWhomItSendsAway(t *testing.T) {
	d := newDoor(admission.Room{Places: 8, Bytes: 100}, admission.Room{}, admission.Party{Name: "a"}, admission.Party{Name: "b"})
	a, _ := enter(d, "a")
	b, _ := enter(d, "b")
	if err := errors.Join(a.Reserve(300), b.Reserve(25)); err != nil {
		t.Fatal(err)
	}
	if r := d.Report(); r.Err() != nil || r.String() != "ok" {
		t.Errorf("%v, %s", r.Err(), r)
	}
	if err := b.Reserve(1); gateway.ReasonOf(err) != gateway.Overload {
		t.Errorf("%v", err)
	}
	if r := d.Report(); r.Err() == nil || r.String() != "full for b" {
		t.Errorf("%v, %s", r.Err(), r)
	}
}

func TestAPartyThatProvesItselfLeavesTheStrangersRoom(t *testing.T) {
	d := newDoor(admission.Room{Places: 4, Bytes: 100}, admission.Room{Places: 4, Bytes: 40}, admission.Party{Name: "a", Most: 1}, admission.Party{Name: "b"})
	p, _ := enter(d, "1")
	if err := p.Reserve(30); err != nil {
		t.Fatal(err)
	}
	if err := p.Prove("a"); err != nil {
		t.Fatal(err)
	}
	if r := d.Report(); r.Known != (admission.Room{Places: 1, Bytes: 30}) || r.Strangers != (admission.Room{}) || p.Party() != "a" {
		t.Errorf("%+v %+v", r.Known, r.Strangers)
	}
	q, _ := enter(d, "1")
	if err := q.Prove("a"); gateway.ReasonOf(err) != gateway.PortalLimit {
		t.Errorf("its bound is reached: %v", err)
	}
	if r := d.Report(); r.Strangers.Places != 1 || q.Party() != admission.Stranger {
		t.Errorf("it is still a stranger: %+v", r.Strangers)
	}
	for range 2 {
		p.Leave()
		q.Leave()
	}
	if r := d.Report(); r.Known != (admission.Room{}) || r.Strangers != (admission.Room{}) {
		t.Errorf("%+v %+v", r.Known, r.Strangers)
	}
}

// zeros ends after n bytes.
func zeros(n int) io.Reader { return bytes.NewReader(make([]byte, n)) }

type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

func TestABodyTakesTheMemoryThatItBrought(t *testing.T) {
	broken := io.MultiReader(zeros(100), iotestErr{})
	tests := []struct {
		name      string
		body      io.Reader
		announced int64
		room      int64
		want      gateway.Reason
		read      int   // bytes at most
		reserved  int64 // at most, while it is held
	}{
		{"announced", zeros(1 << 20), 1 << 20, 4 << 20, "", 1 << 20, 1<<20 + 16<<10},
		{"not announced", zeros(1 << 20), -1, 4 << 20, "", 1 << 20, 2 << 20},
		{"one byte more than allowed is refused unread", zeros(1<<20 + 1), 1<<20 + 1, 4 << 20, gateway.BodyTooLarge, 0, 0},
		{"much more, not announced", zeros(8 << 20), -1, 4 << 20, gateway.BodyTooLarge, 1<<20 + 1, 2 << 20},
		{"announced larger than the room is refused unread", zeros(1 << 20), 1 << 20, 256 << 10, gateway.Overload, 0, 0},
		{"not announced, and no room", zeros(1 << 20), -1, 256 << 10, gateway.Overload, 256 << 10, 256 << 10},
		{"a megabyte announced, ten bytes brought", io.MultiReader(zeros(10), iotestErr{}), 1 << 20, 4 << 20, gateway.BodyTruncated, 10, 4 << 10},
		{"the connection breaks", broken, -1, 4 << 20, gateway.BodyTruncated, 100, 4 << 10},
		{"nothing", zeros(0), 0, 4 << 20, "", 0, 4 << 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(admission.Room{Places: 4, Bytes: tt.room}, admission.Room{}, admission.Party{Name: "a"})
			if _, err := d.Enter("a", ""); err != nil {
				t.Fatal(err)
			}
			other, _ := d.Enter("a", "")
			if err := other.Reserve(1); err != nil { // so that nobody is alone
				t.Fatal(err)
			}
			p, _ := d.Enter("a", "")
			in := &counted{Reader: tt.body}
			r := httptest.NewRequest(http.MethodPost, "/", in)
			r.ContentLength = tt.announced
			w := httptest.NewRecorder()
			got, err := p.Read(w, r, 1<<20)
			if gateway.ReasonOf(err) != tt.want || tt.want == "" && int64(len(got)) != int64(in.n) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if in.n > tt.read {
				t.Errorf("%d bytes were read, at most %d may be", in.n, tt.read)
			}
			held := d.Report().Known.Bytes - 1
			if held > tt.reserved || int64(cap(got)) > held {
				t.Errorf("%d bytes are reserved for %d, at most %d may be", held, cap(got), tt.reserved)
			}
			if closes := w.Header().Get("Connection") == "close"; closes != (tt.want != "") {
				t.Errorf("the connection closes: %t", closes)
			}
			p.Leave()
			if held := d.Report().Known.Bytes; held != 1 {
				t.Errorf("%d bytes stay reserved", held)
			}
		})
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errors.New("reset") }

// drip brings a byte after each wait.
type drip struct{ wait time.Duration }

func (d drip) Read(p []byte) (int, error) {
	time.Sleep(d.wait)
	return 1, nil
}

func TestSlowBodiesLoseTheirPlace(t *testing.T) {
	tests := []struct {
		name  string
		who   string
		wait  time.Duration // for a byte
		after time.Duration // it has lost it
	}{
		{"a party, a byte a second", "a", time.Second, 7 * time.Second},
		{"a stranger, a byte a second", "1", time.Second, 4 * time.Second},
		{"a party, a little above the least rate", "a", time.Second / (9 << 10), 31 * time.Second},
		{"a stranger, a little above the least rate", "1", time.Second / (9 << 10), 11 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(admission.Room{Places: 4, Bytes: 1 << 20}, admission.Room{Places: 4, Bytes: 1 << 20}, admission.Party{Name: "a"})
				p, _ := enter(d, tt.who)
				r := httptest.NewRequest(http.MethodPost, "/", drip{tt.wait})
				r.ContentLength = 1 << 20
				start := time.Now()
				if _, err := p.Read(httptest.NewRecorder(), r, 1<<20); gateway.ReasonOf(err) != gateway.BodyTruncated {
					t.Errorf("%v", err)
				}
				if took := time.Since(start); took > tt.after {
					t.Errorf("it held its place for %v", took)
				}
			})
		})
	}
}

// A body that stops is cut off by the connection's deadline, over HTTP/1 and HTTP/2; work that lasts
// longer than the body may is not.
func TestABodyThatStopsIsCutOff(t *testing.T) {
	d := admission.New(admission.Config{}).NewDoor(admission.DoorConfig{Name: "door", Known: admission.Room{Places: 4, Bytes: 1 << 20},
		Pace: admission.Pace{Grace: 300 * time.Millisecond, Rate: 1 << 20, Longest: time.Second}}, admission.Party{Name: "a"})
	reasons := make(chan gateway.Reason, 4)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := d.Enter("a", r.RemoteAddr)
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Leave()
		_, err = p.Read(w, r, 1<<20)
		if err == nil {
			time.Sleep(1200 * time.Millisecond)
			err = r.Context().Err()
		}
		reasons <- gateway.ReasonOf(err)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	for _, two := range []bool{false, true} {
		client := s.Client()
		if !two {
			tr := client.Transport.(*http.Transport).Clone()
			tr.ForceAttemptHTTP2, tr.TLSClientConfig.NextProtos, tr.Protocols = false, []string{"http/1.1"}, new(http.Protocols)
			tr.Protocols.SetHTTP1(true)
			client = &http.Client{Transport: tr}
		}
		for _, tt := range []struct {
			name string
			stop bool
			want gateway.Reason
		}{{"a body that stops", true, gateway.BodyTruncated}, {"long work", false, ""}} {
			pr, pw := io.Pipe()
			go func() {
				pw.Write([]byte("<a")) //nolint:errcheck // see the answer
				if !tt.stop {
					pw.Close()
				}
			}()
			go func() {
				resp, err := client.Post(s.URL, "text/xml", pr)
				if err == nil {
					resp.Body.Close()
				}
			}()
			if got := <-reasons; got != tt.want {
				t.Errorf("%s, HTTP/2 %t: %q, want %q", tt.name, two, got, tt.want)
			}
			pw.Close()
		}
	}
}

// Parties take turns at the processor, and strangers have one at a time.
func TestPartiesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := admission.New(admission.Config{Processors: 1})
		var mu sync.Mutex
		var order []string
		work := func(party string) {
			go h.Work(context.Background(), party, func() error { //nolint:errcheck // nothing fails
				mu.Lock()
				order = append(order, party)
				mu.Unlock()
				time.Sleep(time.Second)
				return nil
			})
			synctest.Wait()
		}
		for range 4 {
			work("a")
		}
		work("b")
		work(admission.Stranger)
		work(admission.Stranger)
		work("b")
		if got := h.Waiting(); got != 7 {
			t.Errorf("%d wait", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"a", "a", "b", "stranger", "a", "b", "stranger", "a"}; !slices.Equal(order, want) {
			t.Errorf("%v, want %v", order, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := admission.New(admission.Config{Processors: 2})
		under, most := 0, 0
		for range 5 {
			go h.Work(context.Background(), admission.Stranger, func() error { //nolint:errcheck // nothing fails
				under++
				most = max(most, under)
				time.Sleep(time.Second)
				under--
				return nil
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second/2)
		defer cancel()
		if err := h.Work(ctx, "a", func() error { return nil }); err != nil {
			t.Errorf("a party waits behind strangers: %v", err)
		}
		if err := h.Work(ctx, admission.Stranger, func() error { return nil }); gateway.ReasonOf(err) != gateway.Overload {
			t.Errorf("who does not wait any more: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if most != 1 || h.Waiting() != 0 {
			t.Errorf("%d strangers at once, %d wait", most, h.Waiting())
		}
	})
}

func TestWeight(t *testing.T) {
	for _, tt := range []struct {
		name  string
		doc   string
		least int64
		most  int64
	}{
		{"text", "<a>" + strings.Repeat("x", 1<<20) + "</a>", 0, 0},
		{"an ordinary form", strings.Repeat("<applicantName>Some Name of usual length</applicantName>", 100), 0, 100 * 100},
		{"empty elements", strings.Repeat("<a/>", 1<<18), 20 << 20, 32 << 20},
		{"attributes", "<a " + strings.Repeat(`b="" `, 1<<18) + "/>", 20 << 20, 32 << 20},
	} {
		if got := admission.Weight([]byte(tt.doc)); got < tt.least || got > tt.most {
			t.Errorf("%s: %d bytes, from %d to %d were expected", tt.name, got, tt.least, tt.most)
		}
	}
}
