// Package upstream is the one polite HTTP client for everything the gateway asks of others:
// state systems, providers, OCSP responders, CRL servers, the portal.
//
// One call has one deadline. Inside it a failed attempt is repeated a few times, never at once
// and never when the repetition could be a second effect. A host that keeps failing is left
// alone for a while (circuit breaker), and no more than a fixed number of calls are open at the
// same time (bulkhead), so that one slow system cannot hold all of the gateway's work. What takes
// longer than one deadline is retried by the pipeline, durably, not here.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"egov-gateway/gateway"

	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/go-resty/resty/v2"
)

const (
	// DefaultTimeout is the deadline of a whole call, repetitions included.
	DefaultTimeout = 10 * time.Second
	// DefaultRetries is how many times a failed attempt is repeated.
	DefaultRetries = 2
	// DefaultRetryWait is the middle of the first pause; each further one is twice as long.
	DefaultRetryWait = 100 * time.Millisecond
	// DefaultMaxResponse is the largest body that is read, in bytes: SHEP allows about 15 MB.
	DefaultMaxResponse = 16 << 20
	// DefaultMaxConcurrent is how many calls one Client has open at the same time.
	DefaultMaxConcurrent = 32
	// DefaultBreakerFailures is how many failures in a row open the breaker of a host.
	DefaultBreakerFailures = 5
	// DefaultBreakerDelay is how long a host is left alone before one call may try it again.
	DefaultBreakerDelay = 10 * time.Second
)

// Reasons says which word the errors of a Client carry.
type Reasons struct {
	// Unavailable: no connection, a broken one, 429, 502 to 504, a redirect, an open breaker,
	// a full bulkhead. Required.
	Unavailable gateway.Reason
	// Timeout: no answer inside the deadline. "" means Unavailable.
	Timeout gateway.Reason
	// TooLarge: an answer above MaxResponse. "" means Unavailable.
	TooLarge gateway.Reason
}

// Config of a [Client]. Only Name and Reasons.Unavailable are required.
type Config struct {
	// Name is the label of the called system in metrics and errors, from a closed list.
	Name string
	// Reasons are the words of the errors.
	Reasons Reasons

	// Timeout is the deadline of a call. 0 means [DefaultTimeout].
	Timeout time.Duration
	// AttemptTimeout bounds one attempt. 0 means Timeout: a system that hangs is not asked twice.
	AttemptTimeout time.Duration
	// Retries is how often a failed attempt is repeated. 0 means [DefaultRetries], below 0 never.
	Retries int
	// RetryWait is the middle of the first pause. 0 means [DefaultRetryWait].
	RetryWait time.Duration
	// MaxResponse is in bytes. 0 means [DefaultMaxResponse].
	MaxResponse int
	// MaxConcurrent calls at the same time; further ones wait inside their deadline.
	// 0 means [DefaultMaxConcurrent].
	MaxConcurrent uint
	// BreakerFailures in a row open the breaker of a host. 0 means [DefaultBreakerFailures].
	BreakerFailures uint
	// NoBreaker asks a host however often it failed: for callers that spare it themselves.
	NoBreaker bool
	// BreakerDelay is how long it stays open. 0 means [DefaultBreakerDelay].
	BreakerDelay time.Duration
	// MaxRedirects is how many redirects [Client.FetchNewer] follows; nothing else follows any.
	MaxRedirects int

	// TLS holds the trusted roots and the gateway's own certificate; nil means the system's
	// roots. TLS 1.2 is the least in any case.
	TLS *tls.Config
	// Proxy names the proxy of a request; nil means a direct connection, whatever the
	// environment says.
	Proxy func(*http.Request) (*url.URL, error)
	// Observe is told of every finished call; it must not block. nil tells nobody.
	Observe func(context.Context, Observation)
}

// An Observation is one finished call, for metrics.
type Observation struct {
	Name     string         // of the Client
	Method   string         // HTTP method
	Status   int            // of the last answer; 0 when there was none
	Reason   gateway.Reason // "" for success
	Attempts int            // 0 when the call was not even tried
	Duration time.Duration
	// Open says that the breaker of the host is open after the call: it is spared.
	Open bool
	// Date is what the last answer said in its header Date, zero when it said nothing.
	Date time.Time
}

// A Client calls one system, or a few hosts of one kind. It is safe for concurrent use.
type Client struct {
	c       Config
	http    *resty.Client
	files   *http.Client // for FetchNewer
	idle    func()
	waiting bulkhead.Bulkhead[any]

	mu       sync.Mutex // guards both below
	breakers map[string]circuitbreaker.CircuitBreaker[any]
	partials map[string]*partial // by address
}

// New checks c and makes a Client.
func New(c Config) (*Client, error) {
	if c.Name == "" {
		return nil, errors.New("upstream: Config.Name is required")
	}
	if c.Reasons.Unavailable == "" {
		return nil, errors.New("upstream: Config.Reasons.Unavailable is required")
	}
	if c.Timeout < 0 || c.AttemptTimeout < 0 || c.RetryWait < 0 || c.BreakerDelay < 0 || c.MaxResponse < 0 || c.MaxRedirects < 0 {
		return nil, errors.New("upstream: a duration or a limit is negative")
	}
	def(&c.Reasons.Timeout, c.Reasons.Unavailable)
	def(&c.Reasons.TooLarge, c.Reasons.Unavailable)
	def(&c.Timeout, DefaultTimeout)
	def(&c.AttemptTimeout, c.Timeout)
	def(&c.Retries, DefaultRetries)
	def(&c.RetryWait, DefaultRetryWait)
	def(&c.MaxResponse, DefaultMaxResponse)
	def(&c.MaxConcurrent, DefaultMaxConcurrent)
	def(&c.BreakerFailures, DefaultBreakerFailures)
	def(&c.BreakerDelay, DefaultBreakerDelay)

	conf := &tls.Config{}
	if c.TLS != nil {
		conf = c.TLS.Clone()
	}
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	transport := &http.Transport{
		Proxy:                 c.Proxy,
		DialContext:           (&net.Dialer{Timeout: min(c.Timeout, 5*time.Second), KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       conf,
		TLSHandshakeTimeout:   min(c.Timeout, 5*time.Second),
		MaxIdleConnsPerHost:   int(min(c.MaxConcurrent, 64)),
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		// A few kilobytes that unpack into gigabytes are nobody's answer.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
	r := resty.NewWithClient(&http.Client{Transport: transport}).
		SetRetryCount(0).
		SetRedirectPolicy(resty.RedirectPolicyFunc(func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse })).
		SetResponseBodyLimit(c.MaxResponse).
		SetDisableWarn(true).
		SetLogger(silent{}).
		SetHeader("User-Agent", "egov-gateway")
	return &Client{
		c: c, http: r, idle: transport.CloseIdleConnections,
		waiting:  bulkhead.New[any](c.MaxConcurrent),
		breakers: make(map[string]circuitbreaker.CircuitBreaker[any]),
		partials: make(map[string]*partial),
		files:    &http.Client{Transport: transport, CheckRedirect: redirects(c.MaxRedirects)},
	}, nil
}

// Close drops idle connections. Calls under way go on.
func (c *Client) Close() { c.idle() }

// breaker returns the breaker of a host, nil for none; hosts come from the configuration, so there are few.
func (c *Client) breaker(host string) circuitbreaker.CircuitBreaker[any] {
	if c.c.NoBreaker {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.breakers[host]
	if !ok {
		b = circuitbreaker.NewBuilder[any]().
			WithFailureThreshold(c.c.BreakerFailures).
			WithSuccessThreshold(1).
			WithDelay(c.c.BreakerDelay).
			WithJitterFactor(0.1).
			Build()
		c.breakers[host] = b
	}
	return b
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// silent keeps resty from writing URLs and bodies to the log.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
