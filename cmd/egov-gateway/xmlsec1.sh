#!/bin/sh
# xmlsec1 as a verifier for `egov-gateway verify --corpus KIT --verifier ./xmlsec1.sh`.
# Exit: 0 verified, 1 refused, 2 cannot be checked, 3 not supported. Needs xmlsec1 and openssl.
#
# The command line of xmlsec1 verifies signature, path and validity. It knows no GOST keys of
# Kazakhstan and no rules for the certificate's owner; lists of revoked certificates and the
# signer's IIN are looked at here with openssl, as an integrator would have to.
[ "$CORPUS_ALGORITHM" = GOST ] && exit 3
doc=$1
set -f
IFS='
'
args=
for f in $CORPUS_TRUST; do args="$args
--trusted-pem
$f"; done
for f in $CORPUS_UNTRUSTED; do args="$args
--untrusted-pem
$f"; done
ids=
case $CORPUS_PROFILE in
wsse) exit 3 ;; # it follows no token reference without a key manager of its own
*) for a in Id ID id; do ids="$ids
--id-attr:$a
r"; done ;;
esac
at=$(date -u -d "$CORPUS_AT" '+%Y-%m-%d %H:%M:%S') || exit 2
out=$(xmlsec1 --verify --enabled-key-data x509 --enabled-reference-uris empty,same-doc --verification-gmt-time "$at" $args $ids "$doc" 2>&1) || exit 1

# Who signed, and was that certificate revoked?
cert=$(tr -d '\r\n\t ' <"$doc" | sed -n 's/.*<ds:X509Certificate>\([^<]*\)<.*/\1/p')
[ -n "$cert" ] || exit 0
pem=$(printf -- '-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n' "$(printf %s "$cert" | sed 's/&#13;//g' | fold -w 64)")
if [ -n "$CORPUS_IIN" ]; then
	printf '%s\n' "$pem" | openssl x509 -noout -subject -nameopt RFC2253 2>/dev/null | grep -q "serialNumber=IIN$CORPUS_IIN\b" || exit 1
fi
serial=$(printf '%s\n' "$pem" | openssl x509 -noout -serial 2>/dev/null | cut -d= -f2)
for f in $CORPUS_CRLS; do
	openssl crl -inform DER -in "$f" -noout -text 2>/dev/null | grep -qi "Serial Number: $serial\$" && exit 1
done
exit 0
