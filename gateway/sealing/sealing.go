// Package sealing encrypts what the gateway keeps, each item under a key of its own, and these
// keys under one key of the installation: who erases an item's key has erased the item.
//
// An [InstallationKey] never lies beside what it opens: it comes from a file or from systemd's
// credentials. A [Keyring] is the one that new keys are wrapped under and those before it, which
// still open what they wrapped. A [Key] belongs to one item and lies beside it, wrapped.
//
// All of it is AES-256-GCM with random nonces (NIST SP 800-38D §8.2.2). One installation key may
// wrap 2^32 keys (§8.3), a request a second for 136 years; rekeying begins anew.
package sealing

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// KeySize is the length of every key, in bytes.
const KeySize = 32

// Overhead is how many bytes longer a text is when it is sealed: nonce and tag.
const Overhead = 12 + 16

// idSize is that of a KeyID, in bytes.
const idSize = 8

// WrappedSize is the length of a wrapped key: whose key wrapped it, and the sealed key.
const WrappedSize = idSize + KeySize + Overhead

// ErrDamaged: the bytes are not what was sealed, not of that item, or not under that name.
var ErrDamaged = errors.New("sealing: what was sealed is damaged, or belongs elsewhere")

// A KeyID names an installation key. It is a digest of the key and may be printed.
type KeyID [idSize]byte

// String is the id in hex.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// ParseKeyID reads what String writes.
func ParseKeyID(text string) (id KeyID, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != idSize {
		return id, fmt.Errorf("sealing: %q names no key", text)
	}
	return KeyID(b), nil
}

// A MissingKeyError says which installation key is needed and not at hand.
type MissingKeyError struct{ ID KeyID }

func (e *MissingKeyError) Error() string {
	return "it is sealed under the data key " + e.ID.String() + ", which is not at hand"
}

// An InstallationKey wraps the keys of items. Only ParseInstallationKey and NewInstallationKey
// make one. It is safe to print: nothing but its id shows.
type InstallationKey struct {
	id     KeyID
	secret secret
}

// A secret is kept out of print by the types that hold it: fmt asks no unexported field.
type secret [KeySize]byte

// ParseInstallationKey reads the content of a key file: 32 bytes as they are, or 64 hex digits,
// with or without a line end.
func ParseInstallationKey(content []byte) (InstallationKey, error) {
	var k InstallationKey
	switch text := strings.TrimRight(string(content), "\r\n"); {
	case len(content) == KeySize:
		copy(k.secret[:], content)
	case len(text) == 2*KeySize:
		if _, err := hex.Decode(k.secret[:], []byte(text)); err != nil {
			return InstallationKey{}, errors.New("a data key is 64 hex digits, and there are other characters")
		}
	default:
		return InstallationKey{}, fmt.Errorf("a data key is 64 hex digits or 32 bytes, not %d bytes", len(content))
	}
	if k.secret == (secret{}) {
		return InstallationKey{}, errors.New("a data key of nothing but zeros protects nothing")
	}
	mac := hmac.New(sha256.New, k.secret[:])
	mac.Write([]byte("egov-gateway data key")) //nolint:errcheck // never fails
	k.id = KeyID(mac.Sum(nil)[:idSize])
	return k, nil
}

// NewInstallationKey makes a key from the system's randomness.
func NewInstallationKey() InstallationKey {
	var b [KeySize]byte
	rand.Read(b[:]) //nolint:errcheck // crypto/rand never returns an error
	k, err := ParseInstallationKey(b[:])
	if err != nil {
		panic(err) // 2^-256
	}
	return k
}

// ID names the key.
func (k InstallationKey) ID() KeyID { return k.id }

// Reveal returns the key as it stands in a file, for who writes that file.
func (k InstallationKey) Reveal() string { return hex.EncodeToString(k.secret[:]) }

// String shows the key's id and nothing else of it.
func (k InstallationKey) String() string { return "data key " + k.id.String() }

// Format implements [fmt.Formatter]: no verb shows more than String.
func (k InstallationKey) Format(f fmt.State, _ rune) { f.Write([]byte(k.String())) } //nolint:errcheck // who prints sees to it

// LogValue is String.
func (k InstallationKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// A Keyring holds the installation keys at hand. A nil one seals nothing and opens nothing. It
// is safe for concurrent use.
type Keyring struct {
	current KeyID
	wrap    map[KeyID]cipher.AEAD
}

// NewKeyring wraps new keys under current and opens what current or one of the old ones wrapped.
func NewKeyring(current InstallationKey, old ...InstallationKey) (*Keyring, error) {
	r := &Keyring{current: current.id, wrap: map[KeyID]cipher.AEAD{}}
	for _, k := range append([]InstallationKey{current}, old...) {
		if k.secret == (secret{}) {
			return nil, errors.New("sealing: an installation key that nobody made")
		}
		// The key itself never encrypts: its digest and its use must have nothing in common.
		derived, err := hkdf.Key(sha256.New, k.secret[:], nil, "egov-gateway wrapping of item keys", KeySize)
		if err != nil {
			return nil, fmt.Errorf("sealing: %w", err)
		}
		if r.wrap[k.id], err = gcm(derived); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return aead, nil
}

// Current names the key that new ones are wrapped under.
func (r *Keyring) Current() KeyID { return r.current }

// Has tells whether the key of that id is at hand. A nil ring has none.
func (r *Keyring) Has(id KeyID) bool { return r != nil && r.wrap[id] != nil }

// A Key seals what belongs to one item. It is safe for concurrent use.
type Key struct{ secret secret }

// String shows nothing.
func (k *Key) String() string { return "item key" }

// Format implements [fmt.Formatter]: no verb shows anything.
func (k *Key) Format(f fmt.State, _ rune) { f.Write([]byte(k.String())) } //nolint:errcheck // who prints sees to it

// LogValue is String.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// NewKey makes the key of an item and wraps it. The owner is part of the wrapping: put beside
// another item, the key does not open.
func (r *Keyring) NewKey(owner string) (*Key, []byte) {
	k := &Key{}
	rand.Read(k.secret[:]) //nolint:errcheck // crypto/rand never returns an error
	return k, r.wrapped(owner, k.secret)
}

func (r *Keyring) wrapped(owner string, s secret) []byte {
	out := append(make([]byte, 0, 2*WrappedSize), r.current[:]...) // whoever keeps two needs no other
	return r.wrap[r.current].Seal(out, nil, s[:], bound(nil, "key", owner, nil))
}

// WrappedBy names the key that wrapped; false for bytes that were erased.
func WrappedBy(wrapped []byte) (KeyID, bool) {
	if len(wrapped) != WrappedSize || KeyID(wrapped) == (KeyID{}) {
		return KeyID{}, false
	}
	return KeyID(wrapped), true
}

// Unwrap opens the key of an item. The error is [ErrDamaged] or a [MissingKeyError].
func (r *Keyring) Unwrap(owner string, wrapped []byte) (*Key, error) {
	s, err := r.unwrapped(owner, wrapped)
	if err != nil {
		return nil, err
	}
	return &Key{s}, nil
}

func (r *Keyring) unwrapped(owner string, wrapped []byte) (s secret, err error) {
	id, ok := WrappedBy(wrapped)
	if !ok {
		return s, ErrDamaged
	}
	if !r.Has(id) {
		return s, &MissingKeyError{id}
	}
	plain, err := r.wrap[id].Open(s[:0], nil, wrapped[idSize:], bound(nil, "key", owner, nil))
	if err != nil || len(plain) != KeySize {
		return s, ErrDamaged
	}
	return s, nil
}

// Rewrap wraps an item's key under the current installation key.
func (r *Keyring) Rewrap(owner string, wrapped []byte) ([]byte, error) {
	s, err := r.unwrapped(owner, wrapped)
	if err != nil {
		return nil, err
	}
	return r.wrapped(owner, s), nil
}

// A Cipher is a key made ready, for one goroutine that seals or opens several texts. It takes a
// kilobyte, a Key 32 bytes.
type Cipher struct {
	aead  cipher.AEAD
	bound []byte // additional data of one text
}

// NewCipher makes a key ready.
func NewCipher(k *Key) *Cipher {
	c := new(Cipher)
	c.Use(k)
	return c
}

// Use makes another key ready.
func (c *Cipher) Use(k *Key) {
	aead, err := gcm(k.secret[:])
	if err != nil {
		panic(err) // no key of that length fails
	}
	c.aead = aead
}

// Forget leaves no key behind.
func (c *Cipher) Forget() { c.aead = nil }

// Seal appends the sealed text to dst. The name and the context are bound to it: under any other
// it does not open.
func (c *Cipher) Seal(dst []byte, name string, context, plain []byte) []byte {
	c.bound = bound(c.bound[:0], "text", name, context)
	return c.aead.Seal(dst, nil, plain, c.bound)
}

// Open appends what was sealed to dst, or returns [ErrDamaged].
func (c *Cipher) Open(dst []byte, name string, context, sealed []byte) ([]byte, error) {
	c.bound = bound(c.bound[:0], "text", name, context)
	plain, err := c.aead.Open(dst, nil, sealed, c.bound)
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// Seal is that of the key's [Cipher].
func (k *Key) Seal(dst []byte, name string, context, plain []byte) []byte {
	return NewCipher(k).Seal(dst, name, context, plain)
}

// Open is that of the key's [Cipher].
func (k *Key) Open(dst []byte, name string, context, sealed []byte) ([]byte, error) {
	return NewCipher(k).Open(dst, name, context, sealed)
}

// Name is a name for content that tells nothing of it without the key, in hex.
func (k *Key) Name(content []byte) string {
	mac := hmac.New(sha256.New, k.secret[:])
	mac.Write(bound(nil, "name", "", nil)) //nolint:errcheck // never fails
	mac.Write(content)                     //nolint:errcheck // never fails
	return hex.EncodeToString(mac.Sum(nil))
}

// bound appends additional data: a use, a name with its length, so that nothing runs into it, and a context.
func bound(b []byte, use, name string, context []byte) []byte {
	b = append(append(b, use...), 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
	return append(append(b, name...), context...)
}
