package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// dashboard is what we look at of Grafana's dashboard.
type dashboard struct {
	ID         *int   `json:"id"`
	UID        string `json:"uid"`
	Title      string `json:"title"`
	Panels     []panel
	Templating struct {
		List []variable
	}
}

type variable struct {
	Name, Label, Type, AllValue, Definition string
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ Type, UID string }
	GridPos                  struct{ X, Y, W, H int }
	Interval                 string
	Targets                  []target
	Transformations          []struct {
		ID      string
		Options struct {
			ExcludeByName map[string]bool
			IndexByName   map[string]int
			RenameByName  map[string]string
		}
	}
	FieldConfig struct {
		Defaults  field
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	Options struct {
		SortBy []struct {
			DisplayName string
			Desc        bool
		}
	}
}

type target struct {
	RefID, Expr, LegendFormat string
	Instant                   bool
	Datasource                struct{ UID string }
}

// field is how a value is shown.
type field struct {
	Unit       string
	Decimals   *int
	NoValue    string
	Color      struct{ Mode, FixedColor string }
	Thresholds struct {
		Steps []step
	}
	Mappings []struct {
		Options map[string]struct{ Text, Color string }
	}
	Custom struct {
		DrawStyle         string
		ThresholdsStyle   struct{ Mode string }
		ScaleDistribution struct{ Type string }
	}
}

// step is a threshold; the first one has no value, as it holds for all below the second.
type step struct {
	Color string
	Value *float64
}

func load(path string) (*dashboard, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := &dashboard{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// fieldOf is how a panel shows what comes from a query, or stands in a column.
func (p *panel) fieldOf(refID, column string) (field, error) {
	f := p.FieldConfig.Defaults
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.ID == "byFrameRefID" && o.Matcher.Options != refID || o.Matcher.ID == "byName" && o.Matcher.Options != column {
			continue
		}
		for _, property := range o.Properties {
			into := map[string]any{
				"unit": &f.Unit, "decimals": &f.Decimals, "color": &f.Color, "thresholds": &f.Thresholds, "mappings": &f.Mappings,
				"custom.cellOptions": &json.RawMessage{},
			}[property.ID]
			if into == nil {
				return f, fmt.Errorf("panel %q overrides %q, which this tool does not know", p.Title, property.ID)
			}
			if err := json.Unmarshal(property.Value, into); err != nil {
				return f, fmt.Errorf("panel %q: %s: %w", p.Title, property.ID, err)
			}
		}
	}
	return f, nil
}

// colour is that of the highest threshold which a value reaches.
func (f *field) colour(value float64) string {
	colour := "text"
	for _, s := range f.Thresholds.Steps {
		if s.Value == nil || value >= *s.Value {
			colour = s.Color
		}
	}
	return colour
}

// interval is the time between two points of a panel: five minutes, unless it asks for more.
func (p *panel) interval() (time.Duration, error) {
	if p.Interval == "" {
		return 5 * time.Minute, nil
	}
	return time.ParseDuration(p.Interval)
}

// query is a target's, with "All" for the variables that narrow it, and Grafana's own as Grafana computes them.
func (d *dashboard) query(t target, interval time.Duration) string {
	rate := max(interval+scrapeInterval, 4*scrapeInterval)
	replacements := []string{"$__rate_interval", rate.String()}
	for _, v := range d.Templating.List {
		all := v.AllValue
		if all == "" {
			all = job // Without one of its own, Grafana puts in all values that there are.
		}
		replacements = append(replacements, "$"+v.Name, all)
	}
	return strings.NewReplacer(replacements...).Replace(t.Expr)
}

var inLegend = regexp.MustCompile(`\{\{(\w+)\}\}`)

// legend names a series.
func legend(format string, labels map[string]string) string {
	return strings.TrimSpace(inLegend.ReplaceAllStringFunc(format, func(label string) string { return labels[strings.Trim(label, "{}")] }))
}
