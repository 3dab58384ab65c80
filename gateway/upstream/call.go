package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/tracing"

	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/go-resty/resty/v2"
)

// A Request is one call.
type Request struct {
	Method string // "" means GET without a body, POST with one
	URL    string // absolute, http or https
	Header map[string]string
	Body   []byte
	// Idempotent says that asking twice is the same as asking once, because the call only reads
	// or carries an idempotency key. Only then is it repeated after the request may have
	// reached the other side; a connection that was never made is always tried again.
	Idempotent bool
}

// A Response is an answer of any status but 3xx (304 is one when If-None-Match was sent), 429 and 502 to 504, which are errors.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do makes one call inside the client's deadline and that of ctx.
//
// The error carries one of the client's [Reasons] and names method, host and path, never the
// query, the body or a header. It wraps ctx's error when the caller gave up.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
		if r.Body != nil {
			r.Method = http.MethodPost
		}
	}
	o := Observation{Name: c.c.Name, Method: r.Method}
	ctx, end := tracing.Call(ctx, c.c.Name)
	start := time.Now()
	resp, err := c.do(ctx, r, &o)
	end(gateway.ReasonOf(err))
	if c.c.Observe != nil {
		o.Reason, o.Duration = gateway.ReasonOf(err), time.Since(start)
		c.c.Observe(ctx, o)
	}
	return resp, err
}

func (c *Client) do(ctx context.Context, r Request, o *Observation) (Response, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return Response{}, gateway.Errorf(gateway.ConfigInvalid, "%s: the address is not an absolute http or https URL", c.c.Name)
	}
	call := c.c.Name + ": " + r.Method + " " + u.Scheme + "://" + u.Host + u.EscapedPath()
	ctx, cancel := context.WithTimeout(ctx, c.c.Timeout)
	defer cancel()
	if err := c.waiting.AcquirePermit(ctx); err != nil {
		if errors.Is(err, bulkhead.ErrFull) || ctx.Err() == nil {
			return Response{}, c.fail(call, errBusy)
		}
		return Response{}, c.fail(call, fmt.Errorf("%w: %w", errBusy, ctx.Err()))
	}
	defer c.waiting.ReleasePermit()

	b := c.breaker(u.Host)
	for {
		if b != nil && !b.TryAcquirePermit() {
			o.Open = true
			if err != nil {
				return Response{}, c.fail(call, err)
			}
			return Response{}, c.fail(call, circuitbreaker.ErrOpen)
		}
		o.Attempts++
		var resp Response
		resp, err = c.attempt(ctx, r)
		record(b, err)
		o.Status, o.Open = resp.Status, b != nil && b.IsOpen()
		o.Date, _ = http.ParseTime(resp.Header.Get("Date"))
		if err == nil {
			return resp, nil
		}
		if o.Attempts > c.c.Retries || !repeatable(r, err) {
			return Response{}, c.fail(call, err)
		}
		if !pause(ctx, c.wait(o.Attempts, err)) {
			return Response{}, c.fail(call, err)
		}
	}
}

// attempt asks once.
func (c *Client) attempt(ctx context.Context, r Request) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.c.AttemptTimeout)
	defer cancel()
	req := c.http.R().SetContext(ctx).SetHeaders(r.Header)
	if parent := tracing.Parent(ctx); parent != "" {
		req.SetHeader(tracing.Header, parent)
	}
	if r.Body != nil {
		req.SetBody(r.Body)
	}
	got, err := req.Execute(r.Method, r.URL)
	if err != nil {
		// url.Error repeats the whole URL, query included; the cause alone is enough.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return Response{}, err
	}
	resp := Response{Status: got.StatusCode(), Header: got.Header(), Body: got.Body()}
	if resp.Status == http.StatusNotModified && r.Header["If-None-Match"] != "" {
		return resp, nil // asked for
	}
	switch s := resp.Status; {
	case s == http.StatusTooManyRequests, s >= 502 && s <= 504, s >= 300 && s < 400:
		return resp, &statusError{s, retryAfter(resp.Header)}
	}
	return resp, nil
}

var errBusy = errors.New("too many calls under way")

// A statusError is an answer that says "not now" or "elsewhere".
type statusError struct {
	status int
	after  time.Duration
}

func (e *statusError) Error() string { return "answered " + strconv.Itoa(e.status) }

func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s < 0 || s > 86400 {
		return 0
	}
	return time.Duration(s) * time.Second
}

// record tells the breaker how the host did. A caller who gave up says nothing about the host,
// except that a trial call was not answered.
func record(b circuitbreaker.CircuitBreaker[any], err error) {
	switch {
	case b == nil:
	case err == nil, errors.Is(err, resty.ErrResponseBodyTooLarge):
		b.RecordSuccess()
	case errors.Is(err, context.Canceled) && b.IsClosed():
	default:
		b.RecordFailure()
	}
}

// repeatable reports whether asking again may help and cannot be a second effect.
func repeatable(r Request, err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	if !r.Idempotent || errors.Is(err, context.Canceled) {
		return false
	}
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.status == http.StatusTooManyRequests || s.status >= 502
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED)
}

// wait is the pause after attempt number n: RetryWait doubled each time, spread over 50 to
// 150 %, and never shorter than the other side asked for.
func (c *Client) wait(n int, err error) time.Duration {
	base := c.c.RetryWait << min(n-1, 10)
	d := base/2 + rand.N(base)
	if s, ok := errors.AsType[*statusError](err); ok {
		d = max(d, s.after)
	}
	return d
}

// pause waits and reports true, or reports false at once when ctx would end before.
func pause(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Client) fail(call string, err error) error {
	reason := c.c.Reasons.Unavailable
	var timeout net.Error
	switch {
	case errors.Is(err, errBusy):
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		reason = c.c.Reasons.Timeout
	case errors.Is(err, resty.ErrResponseBodyTooLarge):
		return gateway.Errorf(c.c.Reasons.TooLarge, "%s: the answer has more than %d bytes", call, c.c.MaxResponse)
	}
	return gateway.Errorf(reason, "%s: %w", call, err)
}

// Fetch asks for revocation evidence: it posts body as an OCSP request (RFC 6960 appendix A.1),
// or gets url when body is nil. Only status 200 is an answer.
func (c *Client) Fetch(ctx context.Context, url string, body []byte) ([]byte, error) {
	r := Request{URL: url, Body: body, Idempotent: true}
	if body != nil {
		r.Header = map[string]string{"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
	}
	resp, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, gateway.Errorf(c.c.Reasons.Unavailable, "%s: answered %d", c.c.Name, resp.Status)
	}
	return resp.Body, nil
}
