package plan

// Combination is one Istio minor with the Kubernetes minors the suite is run on with it, the newest first.
type Combination struct {
	Istio      string
	Kubernetes []string
}

// Supported are the combinations the nightly matrix runs and verify accepts: the support window. `amc matrix` prints it for CI systems.
var Supported = []Combination{
	{"1.31", []string{"1.36", "1.35", "1.34"}},
	{"1.30", []string{"1.36", "1.35", "1.34"}},
	{"1.29", []string{"1.35", "1.34"}},
}

// Job is one cell of the matrix.
type Job struct {
	Istio      string `json:"istio"`
	Kubernetes string `json:"kubernetes"`
	Clusters   int    `json:"clusters"`
	Profile    string `json:"profile"`
}

// Matrix is the table of jobs that a nightly run makes of [Supported]: every combination with two clusters, and for the newest also three clusters and the
// profile all.
func Matrix() []Job {
	var jobs []Job
	for i, c := range Supported {
		for j, k := range c.Kubernetes {
			jobs = append(jobs, Job{c.Istio, k, 2, "extended"})
			if i == 0 && j == 0 {
				jobs = append(jobs, Job{c.Istio, k, 3, "extended"}, Job{c.Istio, k, 2, "all"})
			}
		}
	}
	return jobs
}
