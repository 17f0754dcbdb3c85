package lang

// synonyms are what other tools, and people, call our keys and policies, in small letters; of several the first that can stand there is meant.
var synonyms = map[string]string{
	"parallel": "forkjoin", "fork": "forkjoin", "all": "forkjoin", "branches": "forkjoin", "concurrent": "forkjoin", "steps": "sequence do", "serial": "sequence", "chain": "sequence", "pipeline": "sequence",
	"foreach": "map", "for": "map", "each": "map do", "iterate": "map", "switch": "choice", "if": "choice when", "case": "choice", "condition": "choice when", "sleep": "wait", "delay": "wait backoff", "pause": "wait",
	"approval": "signal", "await": "signal", "waitfor": "signal", "graph": "dag", "while": "loop", "until": "loop", "repeat": "loop", "dowhile": "loop", "poll": "loop",
	"try": "finally", "always": "finally", "defer": "finally", "ensure": "finally", "throw": "fail", "raise": "fail", "error": "fail errors", "noop": "pass", "value": "pass", "set": "pass", "return": "end", "exit": "end", "succeed": "end", "stop": "end",
	"compensate": "undo saga", "compensation": "undo saga", "rollback": "undo saga", "transaction": "saga", "dependson": "needs", "depends_on": "needs", "requires": "needs", "task": "function do", "call": "function", "invoke": "function", "action": "function", "subflow": "flow", "workflow": "flow",
	"step": "function do", "run": "function do", "body": "do", "onerror": "catch onFailure", "on_error": "catch onFailure", "onfail": "onFailure", "ondone": "onSuccess", "rescue": "catch", "except": "catch", "retries": "retry attempts", "tries": "retry attempts",
	"params": "input", "parameters": "input", "with": "input", "args": "input", "payload": "input data", "result": "output", "id": "name",
	// Keys of policies.
	"over": "items", "list": "items", "in": "items", "concurrency": "window", "concurrent_limit": "window", "maxparallel": "window", "max_parallel": "window", "limit": "window", "max": "window", "default": "else", "otherwise": "else",
	"after": "needs", "interval": "every backoff", "within": "timeout", "timeout": "within", "on": "errors filters", "ignore": "never", "except_on": "never",
	// Triggers, sources and functions.
	"filter": "filters", "match": "filters", "type": "filters exact", "event": "filters", "cron": "schedule", "timer": "schedule", "crontab": "schedule", "timezone": "zone", "tz": "zone", "hook": "webhook", "http": "webhook", "api": "webhook", "lambda": "lambdaRuntime",
	"cmd": "command exec", "program": "command exec", "command": "exec", "script": "exec", "shell": "exec", "url": "http", "endpoint": "http url", "address": "url", "uri": "url", "ttl": "maxAge", "expiry": "maxAge", "dedupe": "correlate", "group": "correlate", "parallelism": "window concurrency", "maxconcurrency": "window concurrency", "throttle": "rate",
	"topic": "topics", "regex": "prefix", "pattern": "prefix", "startswith": "prefix", "endswith": "suffix", "equals": "exact", "cesql": "sql",
	// Amazon's States Language, Argo, Airflow.
	"itemspath": "items", "itemselector": "input", "itemprocessor": "do", "iterator": "do", "withitems": "items", "withparam": "items", "suspend": "signal", "depends": "needs",
	"timeoutseconds": "timeout", "heartbeatseconds": "heartbeat", "resultselector": "output", "outputpath": "output", "inputpath": "input", "retrystrategy": "retry", "sensor": "signal", "task_group": "sequence", "expand": "map", "states": "sequence",
	"upstream": "needs", "onexit": "finally", "exithandler": "finally", "maxattempts": "attempts", "max_attempts": "attempts", "intervalseconds": "backoff", "backoffrate": "factor", "errorequals": "on errors",
}
