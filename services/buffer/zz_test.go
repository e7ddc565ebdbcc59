package buffer
import ("testing";"time";"runtime";"fmt";"slices";"os";"strings";"sync"
 "hydrant/shared/names";"hydrant/shared/catalog";"github.com/nats-io/nats.go")
func cpu() time.Duration { b,_ := os.ReadFile("/proc/self/stat"); f := strings.Fields(string(b)); var u,s int; fmt.Sscan(f[13],&u); fmt.Sscan(f[14],&s); return time.Duration(u+s)*10*time.Millisecond }
func TestZZIdle(t *testing.T) {
	r := newRig(t)
	var ds []*catalog.DeliveryStream
	var wg sync.WaitGroup
	n := 2000
	for i := range n { ds = append(ds, document(names.Stream(fmt.Sprintf("s%d", i)), 5, 1)) }
	for w := range 8 { wg.Go(func(){ for i := w; i < n; i += 8 { r.create(ds[i]) } }) }
	wg.Wait()
	b := time.Now()
	s := r.serve()
	for _, d := range ds { r.put(d, 1, 100) }
	t.Log("puts", time.Since(b))
	r.eventually("all cut", func() bool { v, _ := s.value("hydrant_batches_cut_total"); return v == float64(n) })
	t.Log("all cut", time.Since(b), "goroutines", runtime.NumGoroutine())
	var m runtime.MemStats; runtime.GC(); runtime.ReadMemStats(&m)
	t.Log("heap MB (server too)", m.HeapInuse>>20, "stacks", m.StackInuse>>20)
	c := cpu(); time.Sleep(30*time.Second)
	t.Log("idle cpu in 30 s", cpu()-c)
	b = time.Now()
	r.nats.Restart()
	r.eventually("puts work again", func() bool { return store(t.Context(), r.js, ds[0], 0, 100) == nil })
	t.Log("restarted", time.Since(b))
	for _, d := range ds { r.put(d, 1, 100) }
	r.eventually("all cut", func() bool { v, _ := s.value("hydrant_batches_cut_total"); return v >= float64(2*n) })
	t.Log("all cut again", time.Since(b))
	b = time.Now(); s.stop(); t.Log("stop", time.Since(b))
	if strings.Contains(s.logged.String(), "level=WARN") { for _, l := range strings.Split(s.logged.String(), "\n") { if strings.Contains(l, "level=WARN") { t.Log(l); break } } ; t.Log(strings.Count(s.logged.String(), "level=WARN")) }
}
func TestZZLatency(t *testing.T) {
	r := newRig(t)
	d := r.create(document("lat", 5, 0))
	sink := r.sink(d)
	s := r.serve(); _ = s
	r.put(d, 1, 100); r.deliver(sink, 1)
	got := make(chan time.Time, 1)
	cc, _ := sink.Messages()
	go func() { for { m, err := cc.Next(); if err != nil { return }; m.Ack(); got <- time.Now() } }()
	var l []time.Duration
	for range 500 { r.put(d, 1, 1000); b := time.Now(); l = append(l, (<-got).Sub(b)) }
	cc.Stop()
	slices.Sort(l)
	t.Log("acked put -> descriptor at sink p50", l[250], "p99", l[494], "max", l[499])
}
func TestZZThroughput(t *testing.T) {
	r := newRig(t)
	d := r.create(document("thr", 128, 900))
	data := make([]byte, 1000)
	var fs []interface{ Ok() <-chan *struct{} }; _ = fs
	nc := r.nats.Conn()
	for i := range 200_000 { m := nats.NewMsg("records.thr.0"); m.Data = data; nc.PublishMsg(m); if i%1000==999 { nc.Flush() } }
	r.eventually("stored", func() bool { return r.log(d).LastSeq == 200_000 })
	b := time.Now()
	r.serve()
	r.awaitLast(d, 0, 200_000)
	t.Log("200k messages cut in", time.Since(b), len(r.cut(d,0)))
}
