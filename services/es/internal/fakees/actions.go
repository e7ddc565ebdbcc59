package fakees

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
)

// Answer answers with an error, and does not carry the request out.
func Answer(status int, kind, reason string) Action {
	return func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"error": map[string]any{"type": kind, "reason": reason, "root_cause": []any{}}, "status": status,
		})
	}
}

// Reset breaks the connection, and does not carry the request out.
func Reset(http.Handler, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Lose carries the request out and breaks the connection instead of answering.
func Lose(carryOut http.Handler, _ http.ResponseWriter, r *http.Request) {
	carryOut.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// Truncate carries the request out and answers half.
func Truncate(carryOut http.Handler, w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	carryOut.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	_, _ = w.Write(body[:len(body)/2])
}

// Rewrite carries the request out and answers what change makes of its answer's items.
func Rewrite(change func(items []any) []any) Action {
	return func(carryOut http.Handler, w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		carryOut.ServeHTTP(answer, r)
		var body map[string]any
		_ = json.Unmarshal(answer.Body.Bytes(), &body)
		if items, ok := body["items"].([]any); ok {
			body["items"] = change(items)
		}
		_ = json.NewEncoder(w).Encode(body)
	}
}

// After carries the request out and answers something else.
func After(do Action) Action {
	return func(carryOut http.Handler, w http.ResponseWriter, r *http.Request) {
		carryOut.ServeHTTP(httptest.NewRecorder(), r)
		do(carryOut, w, r)
	}
}

// Hold carries the request out, if it should, before or after it waited until released is closed or the client gave up.
func Hold(before bool, reached chan<- struct{}, released <-chan struct{}) Action {
	return func(carryOut http.Handler, w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		if before {
			carryOut.ServeHTTP(answer, r)
		} else {
			body, _ := io.ReadAll(r.Body) // only then does the server notice that the client gave up
			_ = body
		}
		select {
		case reached <- struct{}{}:
		default:
		}
		select {
		case <-released:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
}

// JSON answers so, and does not carry the request out.
func JSON(body string) Action {
	return func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, body)
	}
}
