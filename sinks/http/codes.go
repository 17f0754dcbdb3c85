package http

import "slices"

// unproven are the codes by which nobody knows whether the function has run, by contract: the same event is sent again, under the same id, for as long as
// maxAge and resends let it.
//
//	contract  proves nothing               accepted  an answer            a failure of the function   of the platform
//	http      408 425 429 502 503 504      202       the other 2xx        the other 4xx and 5xx       3xx
//	lambda    408 425 429 502 503 504,     202       the other 2xx that   2xx that say so, 502 with   404, 500, 505 and above, 3xx
//	          400 Runtime.Unavailable                do not say that it   an errorType from no AWS,
//	                                                 failed               the other 4xx
//
// 429 is throttling, and so is Runtime.Unavailable. What proves nothing here is with some runtimes the function's own failure - 408 and 504 are
// of-watchdog's and classic-watchdog's time-outs, 502 is OpenWhisk's for a developer's error: a function behind them says resends, or a timeout below theirs.
var unproven = map[string][]int{
	"http":   {408, 425, 429, 502, 503, 504},
	"lambda": {408, 425, 429, 502, 503, 504},
}

// provesNothing reports a code after which the event is sent again. Who is not asked by a contract is asked by http.
func provesNothing(contract string, code int) bool {
	codes, ok := unproven[contract]
	if !ok {
		codes = unproven["http"]
	}
	return slices.Contains(codes, code)
}
