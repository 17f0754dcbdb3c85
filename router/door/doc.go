// Package door is the router's listener: who may connect, how long he may take, and under which name he may ask.
//
// It knows nothing of events and runs. Every request passes it, in this order:
//
//	Listen     at most so many connections; at the limit the one goes that has had nothing at work for longest, else the new one; TLS 1.2 and up where
//	           there are certificates, which are read again when their files change; a client that does not read what it asked for is hung up on
//	Serve      HTTP/1.1; head, body and idle time bounded, a body has to come at a minimum rate; so many bytes of bodies, and of requests that are there as
//	           a whole so many
//	Guard      where nobody has to prove who he is: the Host must be the listener's own, and no page of another origin may send
//
// What a limit refuses is counted, and says what to do. A limit here is for what comes from outside of the process: what the router sends itself does
// not pass this door.
//
// Not in here: tokens and what they are good for (config/access, api), what routers prove to one another (cluster), what is in a body (config/envelope).
package door
