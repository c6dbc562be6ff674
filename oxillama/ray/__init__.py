"""Many machines: engines behind Ray, which routes, scales, restarts and retries. Needs the extra `ray`.

`oxillama.ray.serving` is the HTTP app as a Serve deployment (`serve run oxillama.ray.serving:app model=...`),
`oxillama.ray.data` a predictor for Ray Data. Nothing of a cluster is written here."""
