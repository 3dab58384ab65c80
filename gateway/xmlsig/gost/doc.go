// Package gost is Kazakhstan's and Russia's signature standard in Go: the hashes Streebog
// (GOST R 34.11-2012, RFC 6986) and GOST R 34.11-94 (RFC 5831), and signatures of GOST R
// 34.10-2012 (RFC 7091) on the two curves that the NCA's keys use.
//
// Everything is little-endian, as in the NCA's certificates and documents: keys are x‖y,
// signatures r‖s, and a digest is read as a number with its first byte lowest. The standard's
// texts and OpenSSL's gost engine write signatures as s‖r big-endian, which is the same bytes
// from last to first.
//
// The package computes and does not judge: which keys, digests and parameter sets belong
// together, and whether the algorithm of the past is allowed, is for the caller.
package gost

//go:generate go run generate.go
