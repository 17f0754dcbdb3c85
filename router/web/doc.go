// Package web is the page: what runs, what failed and why, in a browser, with the buttons that the command has.
//
// The page is files, served as they are written; they ask the API for everything, as the command does. Nothing of a run is in what this package sends, and
// nothing that a function answered is ever read as markup: the page sets text, and its policy (CSP, with trusted types) lets the browser refuse the rest.
//
//	/  /runs  /runs/RUN  /waits  /dead  /events  /triggers  /functions  /routers     one frame; the address says what it shows
//	/assets/DIGEST/NAME                                                              styles and scripts, compressed once, kept by browsers for good
//	/login  /logout  /session                                                        where callers have to prove who they are
//
// A session is a cookie that holds the token, sealed with a key of the journal's layout: it outlives the router, holds at all routers of a cluster, and ends
// when the token does. It counts for pages of the router's own origin only.
//
// Not in here: rights and what they are good for (config/access, api), the listener and its guard (door), what is shown (api).
package web
