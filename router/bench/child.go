package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
)

// Function is the process of the functions: it answers every POST at once with 1, and tells at GET how many events it got, those of /limit apart. It prints its address,
// and ends with its standard input.
func Function() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = l.Close()
	}()
	var got atomic.Int64
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // It ends by Close.
		if r.Method == http.MethodGet {
			fmt.Fprint(w, got.Load())
			return
		}
		if r.Header.Get("Content-Type") == event.ApplicationCloudEventsBatchJSON {
			got.Add(answerBatch(w, r.Body))
			return
		}
		if r.URL.Path != "/limit" {
			got.Add(1)
		}
		_, _ = io.WriteString(w, "1")
	}))
	return nil
}

// answerBatch answers each event of a batch with 1, and returns how many there were. It reads no more of them than it has to: what is measured is the router.
func answerBatch(w http.ResponseWriter, body io.Reader) (n int64) {
	text, err := io.ReadAll(body)
	answer := []byte{'['}
	if err == nil {
		err = lang.EachElement(text, func(e []byte) error {
			var id string
			if err := lang.EachMember(e, func(key, value []byte) error {
				if string(key) == "id" {
					id, _ = lang.TextOf(value)
				}
				return nil
			}); err != nil {
				return err
			}
			if n++; n > 1 {
				answer = append(answer, ',')
			}
			answer = fmt.Appendf(answer, `{"specversion":"1.0","id":"a-%s","source":"/bench","type":"dev.onward.function.succeeded","causationid":"%s","data":1}`, id, id)
			return nil
		})
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return 0
	}
	w.Header().Set("Content-Type", event.ApplicationCloudEventsBatchJSON)
	_, _ = w.Write(append(answer, ']')) // Whoever does not read it sends them again.
	return n
}

// received asks a process of functions how many events it got.
func received(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+url+"/", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

// A Load is what the process of the load does: so many POSTs of a body from so many clients, or a stream.
type Load struct {
	URL     string            `json:"url"`
	Header  map[string]string `json:"header"`
	Events  int               `json:"events"`
	Batch   int               `json:"batch"` // events of one POST; 0 is one, in binary mode
	Clients int               `json:"clients"`
	Want    int               `json:"want"` // status
	Prefix  string            `json:"prefix"`
	Stream  *Stream           `json:"stream,omitempty"` // in place of POSTs
}

// A Report is what the process of the load says.
type Report struct {
	Wall      time.Duration   `json:"wallNs"`
	Latencies []time.Duration `json:"latenciesNs"`
	Err       string          `json:"error,omitempty"`
}

// Generate is the process of the load: it reads Loads from its standard input, a line each, and answers each with a Report.
func Generate(in io.Reader, out io.Writer) error {
	fmt.Fprintln(out, "ready")
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var l Load
		if err := dec.Decode(&l); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := enc.Encode(l.run()); err != nil {
			return err
		}
	}
}

func (l *Load) run() *Report {
	if l.Stream != nil {
		return l.Stream.run(l.Prefix)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: l.Clients}}
	defer client.CloseIdleConnections()
	posts := l.Events / max(l.Batch, 1)
	var next atomic.Int64
	var mu sync.Mutex
	r := &Report{}
	begin := time.Now()
	var wait sync.WaitGroup
	for range l.Clients {
		wait.Go(func() {
			var mine []time.Duration
			for i := next.Add(1); i <= int64(posts); i = next.Add(1) {
				at := time.Now()
				if err := l.post(client, int(i)); err != nil {
					mu.Lock()
					r.Err = err.Error()
					mu.Unlock()
					return
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			r.Latencies = append(r.Latencies, mine...)
			mu.Unlock()
		})
	}
	wait.Wait()
	r.Wall = time.Since(begin)
	return r
}

const loadData = `{"result":1000,"worker":"worker-000001","note":"a little data as completions have"}`

func (l *Load) post(client *http.Client, i int) error {
	body := []byte(loadData)
	if l.Batch > 0 {
		var b bytes.Buffer
		for k := range l.Batch {
			sep := ","
			if k == 0 {
				sep = "["
			}
			fmt.Fprintf(&b, `%s{"specversion":"1.0","id":"%s-%d-%d","source":"/bench","type":"com.example.bench","datacontenttype":"application/json","data":%s}`, sep, l.Prefix, i, k, loadData)
		}
		b.WriteByte(']')
		body = b.Bytes()
	}
	req, err := http.NewRequest(http.MethodPost, l.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if l.Batch > 0 {
		req.Header.Set("Content-Type", "application/cloudevents-batch+json")
	} else {
		req.Header.Set("Content-Type", "application/json")
		req.Header["Ce-Specversion"], req.Header["Ce-Source"], req.Header["Ce-Type"] = []string{"1.0"}, []string{"/bench"}, []string{"com.example.bench"}
		req.Header["Ce-Id"] = []string{fmt.Sprintf("%s-%d", l.Prefix, i)}
	}
	for name, v := range l.Header {
		req.Header.Set(name, v)
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != l.Want {
		err = fmt.Errorf("answer %d instead of %d: %.300s", res.StatusCode, l.Want, text)
	}
	return err
}
