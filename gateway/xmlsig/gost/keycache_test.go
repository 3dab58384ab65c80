package gost_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"egov-gateway/gateway/xmlsig/gost"
)

// A cached signer has a key in a cache and something that it signed.
type cachedSigner struct {
	key         *gost.PublicKey
	digest, sig []byte
}

func cached(t testing.TB, cache *gost.KeyCache) cachedSigner {
	t.Helper()
	k, digest, sig := signed(t, gost.Curve256A())
	key, err := cache.PublicKey(gost.Curve256A(), public(k).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return cachedSigner{key, digest, sig}
}

func (s cachedSigner) verifies(t testing.TB) {
	t.Helper()
	if !s.key.Verify(s.digest, s.sig) {
		t.Error("does not verify")
	}
	s.sig[5] ^= 1
	if s.key.Verify(s.digest, s.sig) {
		t.Error("verifies with a changed signature")
	}
	s.sig[5] ^= 1
}

func wantLen(t testing.TB, cache *gost.KeyCache, keys, tables int) {
	t.Helper()
	if k, n := cache.Len(); k != keys || n != tables {
		t.Errorf("%d keys and %d tables, want %d and %d", k, n, keys, tables)
	}
}

func TestTheSecondSightingMakesATable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := gost.NewKeyCache(0, 0)
		s := cached(t, cache)
		wantLen(t, cache, 1, 0)
		s.key.Verify(s.digest, s.sig)
		synctest.Wait()
		wantLen(t, cache, 1, 0)
		s.key.Verify(s.digest, s.sig)
		synctest.Wait() // for the table
		wantLen(t, cache, 1, 1)
		s.verifies(t)
		synctest.Wait()
		wantLen(t, cache, 1, 1)
	})
}

func TestTheSameBytesAreTheSameKey(t *testing.T) {
	cache := gost.NewKeyCache(0, 0)
	s := cached(t, cache)
	again, err := cache.PublicKey(gost.Curve256A(), s.key.Bytes())
	if err != nil || again != s.key {
		t.Errorf("another key (%v)", err)
	}
	if _, err := cache.PublicKey(gost.Curve512A(), s.key.Bytes()); err == nil {
		t.Error("a key of one curve is found as a key of the other")
	}
	if _, err := cache.PublicKey(gost.Curve256A(), make([]byte, 64)); err == nil {
		t.Error("the identity is a key")
	}
	wantLen(t, cache, 1, 0)
}

func TestACacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := gost.NewKeyCache(4, 2)
		first := cached(t, cache)
		first.verifies(t)
		synctest.Wait()
		wantLen(t, cache, 1, 1)
		var others []cachedSigner
		for range 6 {
			s := cached(t, cache)
			s.verifies(t) // twice, so it wants a table
			synctest.Wait()
			others = append(others, s)
		}
		wantLen(t, cache, 4, 2)
		// The first was forgotten: it works, and the cache makes it anew.
		first.verifies(t)
		again, err := cache.PublicKey(gost.Curve256A(), first.key.Bytes())
		if err != nil || again == first.key {
			t.Errorf("the least recently used key was not forgotten (%v)", err)
		}
		if again, err = cache.PublicKey(gost.Curve256A(), others[5].key.Bytes()); err != nil || again != others[5].key {
			t.Errorf("the latest key was forgotten (%v)", err)
		}
		synctest.Wait()
		for _, s := range others {
			s.verifies(t)
		}
		synctest.Wait()
		wantLen(t, cache, 4, 2)
	})
}

// Many signers who take turns do not make each other's tables again and again.
func TestTablesStayWhileTheyAreInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := gost.NewKeyCache(16, 1)
		busy := cached(t, cache)
		busy.verifies(t)
		synctest.Wait()
		wantLen(t, cache, 1, 1)
		if !gost.HasTable(busy.key) {
			t.Fatal("the busy key has no table")
		}
		rare := cached(t, cache)
		for range 5 {
			busy.key.Verify(busy.digest, busy.sig)
			rare.key.Verify(rare.digest, rare.sig)
			synctest.Wait()
		}
		if !gost.HasTable(busy.key) || gost.HasTable(rare.key) {
			t.Error("a key that is used as often took the table away")
		}
		rare.key.Verify(rare.digest, rare.sig)
		synctest.Wait()
		if gost.HasTable(busy.key) || !gost.HasTable(rare.key) {
			t.Error("a key that is used more often did not get the table")
		}
	})
}

func TestPrecomputeCountsAsATable(t *testing.T) {
	cache := gost.NewKeyCache(8, 2)
	for i := range 5 {
		s := cached(t, cache)
		s.key.Precompute()
		s.key.Precompute()
		wantLen(t, cache, i+1, min(i+1, 2))
		s.verifies(t)
	}
}

// For the race detector: sightings, tables, evictions and verdicts at once.
func TestACacheServesManyAtOnce(t *testing.T) {
	cache := gost.NewKeyCache(6, 3)
	var signers []cachedSigner
	for range 9 {
		signers = append(signers, cached(t, cache))
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 60 {
				s := signers[(i*7+n*n)%len(signers)]
				k, err := cache.PublicKey(gost.Curve256A(), s.key.Bytes())
				if err != nil || !k.Verify(s.digest, s.sig) || !s.key.Verify(s.digest, s.sig) {
					t.Error(fmt.Errorf("signer %d: does not verify (%w)", n, err))
				}
				if k.Verify(s.digest[:31], s.sig) {
					t.Error("verifies a short digest")
				}
			}
		})
	}
	wg.Wait()
	if keys, tables := cache.Len(); keys > 6 || tables > 3 {
		t.Errorf("%d keys and %d tables", keys, tables)
	}
}
