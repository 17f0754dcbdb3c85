// Package engine is the fold: it turns a partition's records, one by one, into the state of its runs and the obligations that follow.
//
// It is pure. The same records at the same level give the same state, byte for byte, and the same obligations under the same ids, in any process
// and at any time: no clock, no randomness, no I/O, no goroutine, no map order, no process settings. What a caller may do with an obligation -
// when to send, how often to send again - is not decided here; which invocation exists, under which number, is decided nowhere else.
package engine
