package s3sink
import ("testing";"os";"bytes";"sync";"github.com/aws/aws-sdk-go-v2/service/s3")
func TestReal(t *testing.T) {
	r := newRig(t)
	r.cfg.S3Endpoint = os.Getenv("REAL_S3")
	r.cfg.S3CreateBuckets = true
	if os.Getenv("REAL_SUM") != "" { r.cfg.S3Checksums = "required" }
	client, tr, err := newClient(t.Context(), r.cfg)
	check(t, err)
	defer tr.CloseIdleConnections()
	o := client.Options(); o.APIOptions = nil
	r.s3.client = s3.New(o)
	for _, size := range []int{0, 1000, 12<<20} {
		for _, opts := range [][]option{nil, {compressed}} {
			s := r.stream("demo"+ "x", append(opts, toBucket("realdata"), prefixed("p/"+itoa(size)+"/"))...)
			var want []byte
			if size == 0 { s.put(nil) } else { want = s.fill(size) }
			d := s.batch()
			dest := r.destination()
			first, err := dest.Deliver(t.Context(), s.attempt(d))
			check(t, err)
			t.Logf("%+v", first)
			var wg sync.WaitGroup
			for i := range 3 {
				wg.Go(func(){
					a := s.attempt(d); a.Number = 1+i%2
					again, err := dest.Deliver(t.Context(), a)
					if err != nil || again != first { t.Errorf("%+v %v", again, err) }
				})
			}
			wg.Wait()
			data, _ := r.content(first.Location)
			if opts == nil && !bytes.Equal(data, want) { t.Error("differs") }
			if n := r.uploads("realdata"); n != 0 { t.Errorf("%d uploads", n) }
			// killed worker
			if size > 1000 {
				name, _ := newTarget(dest.installation, d, 1, s.doc.Destination.S3, wholeBatch)
				_, err = r.s3.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &name.bucket, Key: &name.key})
				check(t, err)
				a := s.attempt(d); a.Number = 2
				_, err = dest.Deliver(t.Context(), a)
				check(t, err)
				if n := r.uploads("realdata"); n != 0 { t.Errorf("%d uploads", n) }
			}
			// concurrent first attempts
			s.put([]byte("xx")); d = s.batch(); 
			for range 4 { wg.Go(func(){ 
				_, err := dest.Deliver(t.Context(), s.attempt(d)); if err != nil { t.Error(err) } }) }
			wg.Wait()
			if n := r.uploads("realdata"); n != 0 { t.Errorf("%d uploads", n) }
			check(t, r.documents().Remove(t.Context(), s.doc.Name, s.doc.ID))
			check(t, r.js.DeleteStream(t.Context(), s.log().JetStream()))
		}
	}
}
