// rules ALERTS DASHBOARD: reads alert rules as `promtool check rules` does, by the same function of the same module, and the expressions
// of a Grafana dashboard. Apart from hack/kube, so that Prometheus' dependencies are nobody else's; and not promtool itself, which
// takes in the clients of every cloud that Prometheus can discover.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: rules ALERTS DASHBOARD")
		os.Exit(2)
	}
	problems := append(alerts(os.Args[1]), dashboard(os.Args[2])...)
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

func alerts(path string) []error {
	groups, problems := rulefmt.ParseFile(path, false)
	if len(problems) > 0 {
		return problems
	}
	rules := 0
	for _, group := range groups.Groups {
		rules += len(group.Rules)
	}
	fmt.Printf("%s: %d rules\n", path, rules)
	if rules == 0 {
		return []error{fmt.Errorf("%s: no rules", path)}
	}
	return nil
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
