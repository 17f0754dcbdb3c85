package triggers

import "net/http"

// A Refusal is how everything that answers HTTP says that it does not do what it was asked for: {"error": {"code": ..., "message": ..., "cure": ...}}.
type Refusal struct {
	Error Refused `json:"error"`
}

// A Refused says what was refused: Code is for programs and follows from the status, Message and Cure are for people.
type Refused struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Cure    string `json:"cure,omitempty"`
}

// codes are the words of the statuses with which something is refused.
var codes = map[int]string{
	http.StatusBadRequest: "invalid", http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "not_accepted", http.StatusNotFound: "unknown",
	http.StatusMethodNotAllowed: "method", http.StatusRequestTimeout: "slow", http.StatusConflict: "superseded", http.StatusGone: "ended",
	http.StatusRequestEntityTooLarge: "too_large", http.StatusUnsupportedMediaType: "media_type", http.StatusMisdirectedRequest: "host",
	http.StatusTooManyRequests: "busy", http.StatusRequestHeaderFieldsTooLarge: "too_large", http.StatusInternalServerError: "failed",
	http.StatusBadGateway: "undelivered", http.StatusServiceUnavailable: "unavailable", http.StatusInsufficientStorage: "disk_full",
}

// Refuse is the refusal that goes with a status.
func Refuse(status int, message, cure string) Refusal {
	code, known := codes[status]
	if !known {
		code = "refused"
	}
	return Refusal{Refused{code, message, cure}}
}
