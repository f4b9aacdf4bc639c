// rules DASHBOARD: reads the expressions of a Grafana dashboard as Prometheus does. Alert rules are promtool's, which is a tool of this
// module; the module is apart from hack/kube, because promtool takes in the clients of every cloud that Prometheus can discover.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: rules DASHBOARD")
		os.Exit(2)
	}
	problems := dashboard(os.Args[1])
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

func dashboard(path string) []error {
	text, err := os.ReadFile(path)
	if err != nil {
		return []error{err}
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		return []error{fmt.Errorf("%s: %w", path, err)}
	}
	var problems []error
	read := 0
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			read++
			// Grafana puts the interval in.
			expression := strings.ReplaceAll(target.Expr, "$__rate_interval", "1m")
			if _, err := parser.ParseExpr(expression); err != nil {
				problems = append(problems, fmt.Errorf("%s: %s: %w", path, panel.Title, err))
			}
		}
	}
	fmt.Printf("%s: %d expressions\n", path, read)
	if read == 0 {
		problems = append(problems, fmt.Errorf("%s: no expressions", path))
	}
	return problems
}
