package webhook

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Takes events over HTTP on the listener of the router: CloudEvents in binary, structured or batched mode. It answers once what they say is durable. A body without an event around it is refused with 415, unless as: says what event it is; [recipes](../../deploy/docs/recipes.md) has those of several senders. Expressions see neither Authorization nor Cookie nor access_token.\n" +
			"A signature is of the body as it is on the wire. In binary mode an event's attributes are headers, which it does not cover: a signature that was good is not good for another event, and in structured mode all is covered.",
		Examples: []string{
			`
webhook:
  path: /orders
  auth: { bearer: { env: HOME } }
  maxEvent: 64KiB
  maxBatch: 1MiB
  as:
    answer: "${ 'challenge' in body ? {'challenge': body.challenge} : null }"
    each: "${ body.orders }"
    when: "${ item.kind != 'test' }"
    park: "${ 'amount' in item ? null : 'an order without an amount' }"
    type: "com.example.order.${ item.kind }"
    source: "/shop${ path }"
    id: "${ item.id }"
    subject: "${ item.customer }"
    time: "${ item.at }"
    cause: "${ headers[?'x-call-id'].orValue(null) }"
    verdict: "${ 'x-call-id' in headers ? 'succeeded' : null }"
    ticket: "${ item[?'activation'].orValue(null) }"
    extensions: { region: "${ query[?'region'].orValue(null) }" }
    data: "${ item }"
`,
			`
webhook: { auth: { bearer: { file: /etc/hostname } } }
`,
			`
webhook:
  path: /hooks
  auth:
    - hmac: { style: github, secrets: [{ env: HOME }, { file: /etc/hostname }], header: X-Signature, prefix: "sha256=", encoding: hex, tolerance: 5m }
      tenant: shop
    - oidc:
        issuer: "https://login.example.com"
        audience: [onward]
        claims: { role: [sender, admin], verified: true }
        tenantClaim: org
        skew: 30s
        keys: "https://login.example.com/keys"
        ca: /etc/onward/ca.pem
    - mtls: { subjects: ["CN=shop,O=Example"], names: ["*.shop.example.com", "spiffe://example.com/shop/*"] }
  handshake: { origins: ["*.example.com"], callbacks: [hooks.example.com] }
`,
		},
	}
}
