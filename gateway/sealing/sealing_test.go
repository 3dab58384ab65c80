package sealing_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"egov-gateway/gateway/sealing"
)

func ring(t *testing.T, current sealing.InstallationKey, old ...sealing.InstallationKey) *sealing.Keyring {
	t.Helper()
	r, err := sealing.NewKeyring(current, old...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseInstallationKey(t *testing.T) {
	hex := strings.Repeat("0f", 32)
	raw := bytes.Repeat([]byte{0x0f}, 32)
	tests := []struct {
		name, content, wrong string
	}{
		{"64 hex digits", hex, ""},
		{"with the line end of an editor", hex + "\r\n", ""},
		{"32 bytes as they are", string(raw), ""},
		{"a digit too few", hex[1:], "not 63 bytes"},
		{"other characters", strings.Repeat("zz", 32), "other characters"},
		{"nothing", "", "not 0 bytes"},
		{"nothing but zeros", strings.Repeat("00", 32), "zeros"},
	}
	want, err := sealing.ParseInstallationKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := sealing.ParseInstallationKey([]byte(tt.content))
			if tt.wrong == "" && (err != nil || k != want) {
				t.Errorf("got %v, %v", k, err)
			}
			if tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("got %v, want %q", err, tt.wrong)
			}
		})
	}
}

func TestOnlyWhatWasSealedOpens(t *testing.T) {
	r := ring(t, sealing.NewInstallationKey())
	key, wrapped := r.NewKey("request 1")
	if len(wrapped) != sealing.WrappedSize {
		t.Fatal(len(wrapped))
	}
	other, otherWrapped := r.NewKey("request 2")
	sealed := key.Seal(nil, "request", []byte("accepted"), []byte("a document"))
	if len(sealed) != len("a document")+sealing.Overhead || bytes.Contains(sealed, []byte("document")) {
		t.Fatalf("sealed: %q", sealed)
	}
	if again := key.Seal(nil, "request", []byte("accepted"), []byte("a document")); bytes.Equal(again, sealed) {
		t.Error("the same text is sealed the same way twice")
	}
	same, err := r.Unwrap("request 1", wrapped)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, as, context string
		key               *sealing.Key
		sealed            []byte
		want              error
	}{
		{"with its key", "request", "accepted", key, sealed, nil},
		{"with its key unwrapped", "request", "accepted", same, sealed, nil},
		{"with another item's key", "request", "accepted", other, sealed, sealing.ErrDamaged},
		{"under another name", "receipt", "accepted", key, sealed, sealing.ErrDamaged},
		{"in another context", "request", "closed", key, sealed, sealing.ErrDamaged},
		{"with a letter moved between name and context", "requesta", "ccepted", key, sealed, sealing.ErrDamaged},
		{"cut short", "request", "accepted", key, sealed[:len(sealed)-1], sealing.ErrDamaged},
		{"nothing", "request", "accepted", key, nil, sealing.ErrDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plain, err := tt.key.Open(nil, tt.as, []byte(tt.context), tt.sealed)
			if !errors.Is(err, tt.want) || tt.want == nil && string(plain) != "a document" {
				t.Errorf("got %q, %v", plain, err)
			}
		})
	}
	for i := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[i] ^= 1
		if _, err := key.Open(nil, "request", []byte("accepted"), flipped); !errors.Is(err, sealing.ErrDamaged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for i := range wrapped {
		flipped := bytes.Clone(wrapped)
		flipped[i] ^= 1
		if _, err := r.Unwrap("request 1", flipped); err == nil {
			t.Errorf("byte %d of the wrapped key changed, and it opens", i)
		}
	}
	if _, err := r.Unwrap("request 1", otherWrapped); !errors.Is(err, sealing.ErrDamaged) {
		t.Errorf("another item's wrapped key: %v", err)
	}
	if _, err := r.Unwrap("request 1", make([]byte, sealing.WrappedSize)); !errors.Is(err, sealing.ErrDamaged) {
		t.Errorf("an erased key: %v", err)
	}
}

func TestRewrap(t *testing.T) {
	first, second := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	before, between, after := ring(t, first), ring(t, second, first), ring(t, second)
	key, wrapped := before.NewKey("request")
	sealed := key.Seal(nil, "doc", nil, []byte("a document"))
	_, err := after.Unwrap("request", wrapped)
	var missing *sealing.MissingKeyError
	if !errors.As(err, &missing) || missing.ID != first.ID() {
		t.Errorf("without the old key: %v", err)
	}
	if _, err := after.Rewrap("request", wrapped); !errors.As(err, &missing) {
		t.Errorf("rewrapped without the old key: %v", err)
	}
	next, err := between.Rewrap("request", wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := sealing.WrappedBy(next); !ok || id != second.ID() {
		t.Errorf("wrapped by %v", id)
	}
	same, err := after.Unwrap("request", next)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := same.Open(nil, "doc", nil, sealed); err != nil || string(plain) != "a document" {
		t.Errorf("opened %q, %v", plain, err)
	}
	if _, err := before.Unwrap("request", next); !errors.As(err, &missing) || missing.ID != second.ID() {
		t.Errorf("the old key opens the new wrapping: %v", err)
	}
	if key.Name([]byte("x")) != same.Name([]byte("x")) {
		t.Error("names change with the wrapping")
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	k := sealing.NewInstallationKey()
	r := ring(t, k)
	item, _ := r.NewKey("request")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k, "item", item, "ring", r)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k, "item", item)
	text, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	out := log.String() + string(text)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		out += fmt.Sprintf(verb+verb+verb+verb, k, &k, item, r)
	}
	secret := k.Reveal()
	raw, err := sealing.ParseInstallationKey([]byte(secret))
	if err != nil || raw != k {
		t.Fatal(err)
	}
	for _, bad := range []string{secret, strings.ToUpper(secret), secret[:16], decimal(secret)} {
		if strings.Contains(out, bad) {
			t.Errorf("the key shows: %s", out)
		}
	}
	if !strings.Contains(out, k.ID().String()) {
		t.Error("not even the id shows")
	}
}

// decimal is the beginning of the key as %d would print it.
func decimal(hex string) string {
	var all []string
	for i := 0; i < 16; i += 2 {
		var n int
		fmt.Sscanf(hex[i:i+2], "%x", &n) //nolint:errcheck // our own
		all = append(all, fmt.Sprint(n))
	}
	return strings.Join(all, " ")
}

func BenchmarkSeal(b *testing.B) {
	r, err := sealing.NewKeyring(sealing.NewInstallationKey())
	if err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 8<<10)
	for b.Loop() {
		k, _ := r.NewKey("request")
		k.Seal(make([]byte, 0, len(body)+sealing.Overhead), "request", nil, body)
	}
}

// Whatever lies where a wrapped key should: it is refused, or it is the key.
func FuzzUnwrap(f *testing.F) {
	r, err := sealing.NewKeyring(sealing.NewInstallationKey())
	if err != nil {
		f.Fatal(err)
	}
	_, wrapped := r.NewKey("request")
	f.Add(wrapped)
	f.Add(wrapped[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := r.Unwrap("request", b); (err == nil) != bytes.Equal(b, wrapped) {
			t.Errorf("%x: %v", b, err)
		}
		if next, err := r.Rewrap("request", b); (err == nil) != bytes.Equal(b, wrapped) || err == nil && len(next) != sealing.WrappedSize {
			t.Errorf("%x: %v", b, err)
		}
	})
}
