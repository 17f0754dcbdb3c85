#!/bin/sh
# Makes an authority, certificates and an issuer, serves the document over HTTPS, and sends what is let in and what is not.
cd "$(dirname "$0")/../../.."
. deploy/examples/begin.sh
needs openssl curl python3

# An authority, the router's certificate and a machine's.
quiet() { "$@" 2>"$work/openssl" || { cat "$work/openssl"; exit 1; }; }
quiet openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=authority -keyout "$work/ca.key" -out "$work/ca.pem"
for name in router machine; do
	quiet openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$work/$name.key" -out "$work/$name.csr"
	echo "subjectAltName=$(test $name = router && echo IP:127.0.0.1 || echo DNS:till-7.shop.example.com)" >"$work/$name.ext"
	quiet openssl x509 -req -in "$work/$name.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 1 -extfile "$work/$name.ext" -out "$work/$name.pem"
done

# An issuer: its key, the two pages by which others find it, and a token that says these claims.
quiet openssl genrsa -out "$work/issuer.key" 2048
mkdir -p "$work/issuer/.well-known"
echo '{"issuer": "http://127.0.0.1:7026", "jwks_uri": "http://127.0.0.1:7026/keys", "authorization_endpoint": "http://127.0.0.1:7026/none", "id_token_signing_alg_values_supported": ["RS256"]}' >"$work/issuer/.well-known/openid-configuration"
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
modulus=$(openssl rsa -in "$work/issuer.key" -noout -modulus | sed 's/Modulus=//' | python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read().strip()))' | base64url)
echo "{\"keys\": [{\"kty\": \"RSA\", \"alg\": \"RS256\", \"use\": \"sig\", \"kid\": \"1\", \"n\": \"$modulus\", \"e\": \"AQAB\"}]}" >"$work/issuer/keys"
token() {
	said=$(printf '{"alg":"RS256","kid":"1"}' | base64url).$(printf '{"iss":"http://127.0.0.1:7026","sub":"ada","aud":"%s","exp":%s,"role":"sender","org":"shop"}' "$1" "$2" | base64url)
	echo "$said.$(printf %s "$said" | openssl dgst -sha256 -sign "$work/issuer.key" -binary | base64url)"
}
beside 7026 python3 -m http.server 7026 --bind 127.0.0.1 --directory "$work/issuer"

serve deploy/examples/26-callers --tls-cert "$work/router.pem" --tls-key "$work/router.key" --tls-client-ca "$work/ca.pem" --tls-client-auth optional
post() { # what it is, path, type, curl's arguments
	what=$1 path=$2 type=$3
	shift 3
	printf '%s: ' "$what"
	curl -sS -o /dev/null -w '%{http_code}\n' --cacert "$work/ca.pem" "$@" -H "Ce-Specversion: 1.0" -H "Ce-Id: $what" -H "Ce-Source: /shop" -H "Ce-Type: $type" -H "Content-Type: application/json" -d '{"order": "o-1"}' "$ONWARD_ADDR$path"
}
now=$(date +%s)
{
	post 'a token' /partners com.example.order -H "Authorization: Bearer $(token onward $((now + 60)))"
	post 'a token for others' /partners com.example.order -H "Authorization: Bearer $(token elsewhere $((now + 60)))"
	post 'a token that has ended' /partners com.example.order -H "Authorization: Bearer $(token onward $((now - 3600)))"
	post 'a certificate' /machines com.example.reading --cert "$work/machine.pem" --key "$work/machine.key"
	post 'no certificate' /machines com.example.reading
} >"$work/answers" 2>&1
cat "$work/answers"
test "$(cat "$work/answers")" = "a token: 202
a token for others: 401
a token that has ended: 401
a certificate: 202
no certificate: 401" || { cat "$work/log"; exit 1; }
export ONWARD_CA="$work/ca.pem" ONWARD_CERT="$work/machine.pem" ONWARD_KEY="$work/machine.key"
shows order bin/onward runs list
