package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/tracing"

	"github.com/go-resty/resty/v2"
)

const (
	// partialLife is how long the beginning of a file is kept to be continued.
	partialLife = time.Hour
	// resumePause is waited before a broken download goes on.
	resumePause = 200 * time.Millisecond
)

// A partial is the beginning of a file whose download broke off, and what names that very file.
type partial struct {
	body      []byte
	validator string // a strong ETag, or a Last-Modified that is as good
	tag       string // the ETag
	at        time.Time
}

// FetchNewer gets url unless it is still what tag, an ETag from before, names; "" always gets
// it. Only status 200 and, for a tag, 304 are answers. Up to [Config.MaxRedirects] redirects are
// followed, never from https to http.
//
// A download that breaks off goes on where it ended, in this call or the next one within an hour, if
// the server has named the file by a strong validator and still has it (RFC 9110 §13.1.5, §14.2): a
// large file comes through a narrow line in the end. Of each address one beginning is kept, of at most
// [Config.MaxResponse] bytes. There is no breaker, and nothing is repeated but what broke off.
func (c *Client) FetchNewer(ctx context.Context, url, tag string) (raw []byte, newTag string, unchanged bool, err error) {
	o := Observation{Name: c.c.Name, Method: http.MethodGet}
	ctx, end := tracing.Call(ctx, c.c.Name)
	start := time.Now()
	raw, newTag, unchanged, err = c.fetchNewer(ctx, url, tag, &o)
	end(gateway.ReasonOf(err))
	if c.c.Observe != nil {
		o.Reason, o.Duration = gateway.ReasonOf(err), time.Since(start)
		c.c.Observe(ctx, o)
	}
	return raw, newTag, unchanged, err
}

func (c *Client) fetchNewer(ctx context.Context, address, tag string, o *Observation) ([]byte, string, bool, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, "", false, gateway.Errorf(gateway.ConfigInvalid, "%s: the address is not an absolute http or https URL", c.c.Name)
	}
	call := c.c.Name + ": GET " + u.Scheme + "://" + u.Host + u.EscapedPath()
	ctx, cancel := context.WithTimeout(ctx, c.c.Timeout)
	defer cancel()
	if err := c.waiting.AcquirePermit(ctx); err != nil {
		return nil, "", false, c.fail(call, fmt.Errorf("%w: %w", errBusy, err))
	}
	defer c.waiting.ReleasePermit()
	p := c.takePartial(address)
	for failures := 0; ; {
		o.Attempts++
		before := len(p.body)
		unchanged, err := c.download(ctx, address, tag, p, o)
		switch {
		case unchanged:
			return nil, tag, true, nil
		case err == nil:
			return p.body, p.tag, false, nil
		}
		if len(p.body) == before {
			failures++
		}
		// A line that breaks is tried again; one that brings nothing twice, and a refusal, are the caller's.
		again := len(p.body) > before || p.validator != "" && failures < 2 && errors.Is(err, io.ErrUnexpectedEOF)
		if !again || p.validator == "" || !pause(ctx, resumePause) {
			c.keepPartial(address, p)
			return nil, "", false, c.fail(call, err)
		}
	}
}

func (c *Client) takePartial(address string) *partial {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.partials[address]
	delete(c.partials, address)
	if p == nil || time.Since(p.at) > partialLife {
		return new(partial)
	}
	return p
}

func (c *Client) keepPartial(address string, p *partial) {
	if p.validator == "" || len(p.body) == 0 {
		return
	}
	p.at = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partials[address] = p
}

// download asks once and reads the answer to the end of p, from where p ended.
func (c *Client) download(ctx context.Context, address, tag string, p *partial, o *Observation) (unchanged bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("User-Agent", "egov-gateway")
	if parent := tracing.Parent(ctx); parent != "" {
		req.Header.Set(tracing.Header, parent)
	}
	switch {
	case len(p.body) > 0:
		req.Header.Set("Range", "bytes="+strconv.Itoa(len(p.body))+"-")
		req.Header.Set("If-Range", p.validator)
	case tag != "":
		req.Header.Set("If-None-Match", tag)
	}
	got, err := c.files.Do(req)
	if err != nil {
		// url.Error repeats the whole URL, query included; the cause alone is enough.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return false, err
	}
	defer got.Body.Close()
	o.Status = got.StatusCode
	o.Date, _ = http.ParseTime(got.Header.Get("Date"))
	switch {
	case got.StatusCode == http.StatusNotModified && req.Header.Get("If-None-Match") != "":
		return true, nil
	case got.StatusCode == http.StatusOK:
		*p = partial{tag: got.Header.Get("ETag"), validator: validatorOf(got.Header)}
	case got.StatusCode == http.StatusPartialContent && len(p.body) > 0:
		if !strings.HasPrefix(got.Header.Get("Content-Range"), "bytes "+strconv.Itoa(len(p.body))+"-") {
			*p = partial{}
			return false, errors.New("answered with another part of the file than the one asked for")
		}
	default:
		*p = partial{}
		return false, &statusError{got.StatusCode, retryAfter(got.Header)}
	}
	if got.ContentLength > int64(c.c.MaxResponse-len(p.body)) {
		*p = partial{}
		return false, resty.ErrResponseBodyTooLarge
	}
	err = p.read(got.Body, c.c.MaxResponse)
	if errors.Is(err, resty.ErrResponseBodyTooLarge) {
		*p = partial{}
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return false, err
}

// read appends to the body what comes, as it comes: what a server claims to send takes no memory.
func (p *partial) read(from io.Reader, most int) error {
	for {
		if len(p.body) == cap(p.body) {
			p.body = append(p.body, 0)[:len(p.body)]
		}
		n, err := from.Read(p.body[len(p.body):cap(p.body)])
		p.body = p.body[:len(p.body)+n]
		switch {
		case len(p.body) > most:
			return resty.ErrResponseBodyTooLarge
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// validatorOf names one file for good: an ETag that is not weak, or a Last-Modified at least a minute
// before the answer (RFC 9110 §8.8.2.2); "" when there is none.
func validatorOf(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	changed, err1 := http.ParseTime(h.Get("Last-Modified"))
	date, err2 := http.ParseTime(h.Get("Date"))
	if err1 == nil && err2 == nil && date.Sub(changed) >= time.Minute {
		return h.Get("Last-Modified")
	}
	return ""
}

// redirects is the rule of [Config.MaxRedirects].
func redirects(most int) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, via []*http.Request) error {
		switch last := via[len(via)-1]; {
		case most == 0:
			return http.ErrUseLastResponse
		case len(via) > most:
			return fmt.Errorf("more than %d redirects", most)
		case next.URL.Scheme != "https" && (next.URL.Scheme != "http" || last.URL.Scheme == "https"):
			return errors.New("redirected from " + last.URL.Scheme + " to " + next.URL.Scheme)
		case next.URL.User != nil:
			return errors.New("redirected to an address with a name or password")
		}
		return nil
	}
}
