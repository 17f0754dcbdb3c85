package router

// Patterns are those that the listener serves, in the form of http.ServeMux.
func (r *Router) Patterns() []string { return r.api.Patterns() }
