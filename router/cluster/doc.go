// Package cluster is the room of who else there is: routers that own a journal together answer for one another.
//
// A request for a run goes to the router that folds it (Forward); a list is gathered from all (Gather); how a run ended is looked for in everybody's
// history, since its partition may have moved (Find), and waited for where it is folded (Wait). Who owns what, and at which address, the journal tells.
//
//	client --> any router --Forward--> the run's owner
//	                |
//	                +------Gather----> all others, two seconds; who did not answer is named
//
// A request that a router has passed on is not passed on again: while partitions change hands two routers may each believe that it is the other's.
// The journal tells addresses, and does not know who told them. Each connection is proved before anything goes over it: the other end answers a fresh
// nonce with a MAC that only who has the journal's key can make, over the address that was dialled, so that nobody passes it on to a router. Each request
// proves in the same way what it asks for, of whom, when, and that it asks for the first time. What callers prove themselves with stays where it is.
//
// Nothing is remembered about others but open connections, and the nonces of two minutes. A router that has its journal alone asks nobody.
//
// Not in here: what is answered (api), what is folded (shard), who owns a partition (the journal).
package cluster
