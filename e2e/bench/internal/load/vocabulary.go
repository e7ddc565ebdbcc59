package load

// vocabulary is what the values of a log line are taken from.
type vocabulary struct {
	levels, methods, statuses, zones, countries, services, resources, agents, words []string
}

func newVocabulary() vocabulary {
	return vocabulary{
		levels:    []string{"info", "info", "info", "info", "debug", "debug", "warn", "error"},
		methods:   []string{"GET", "GET", "GET", "POST", "PUT", "DELETE"},
		statuses:  []string{"200", "200", "200", "200", "201", "204", "304", "404", "429", "500"},
		zones:     []string{"fra1-a", "fra1-b", "iad2-a", "iad2-c", "sin3-b"},
		countries: []string{"DE", "US", "FR", "IN", "BR", "JP", "GB", "PL", "SE", "ZA"},

		services: []string{"checkout", "catalog", "search", "payments", "inventory", "accounts", "shipping", "recommendations"},

		resources: []string{"orders", "carts", "items", "customers", "sessions", "invoices", "shipments", "reviews", "vouchers"},

		agents: []string{
			"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
			"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
			"Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
			"okhttp/5.1.0", "curl/8.16.0", "shop-app/7.4.1 (Android 16)",
		},

		words: []string{
			"request", "order", "accepted", "rejected", "payment", "card", "timeout", "after", "retry", "cache", "miss", "hit",
			"customer", "voucher", "expired", "stock", "reserved", "released", "warehouse", "parcel", "label", "printed", "queue",
			"depth", "slow", "query", "index", "rebuilt", "session", "started", "ended", "token", "refreshed", "denied", "because",
			"limit", "reached", "upstream", "connection", "reset", "fallback", "used", "price", "updated", "currency", "rounding",
			"discount", "applied", "basket", "merged", "guest", "login", "password", "changed", "mail", "sent", "bounced", "image",
			"resized", "thumbnail", "stored", "search", "results", "for", "with", "without", "of", "the", "a", "in", "to", "from",
			"while", "before", "during", "worker", "shard", "replica", "leader", "follower", "lag", "seconds", "bytes", "page",
			"template", "rendered", "feature", "flag", "enabled", "disabled", "experiment", "variant", "address", "validated",
			"postcode", "unknown", "carrier", "pickup", "return", "refund", "issued", "partial", "review", "moderated", "spam",
		},
	}
}
