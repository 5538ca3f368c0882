package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// measurement is of what a process uses, and the API server is asked, from when it is begun.
type measurement struct {
	world    *world
	pid      int
	requests counts
	cpu      time.Duration
	began    time.Time
}

// cost is what each of many resources took.
type cost struct {
	// CPU in milliseconds.
	CPU float64 `json:"cpuMilliseconds"`
	// Requests to the API server.
	Requests map[string]float64 `json:"requests"`
	Writes   float64            `json:"writes"`
	Reads    float64            `json:"reads"`
}

// measure begins to measure a process.
func (w *world) measure(ctx context.Context, pid int) (*measurement, error) {
	requests, err := w.requests(ctx)
	if err != nil {
		return nil, err
	}
	used, err := cpu(pid)
	return &measurement{w, pid, requests, used, time.Now()}, err
}

// cost is that of n resources since the begin, without the benchmark's own request for each, as "POST accounttokens".
func (m *measurement) cost(ctx context.Context, own string, n int) (*cost, error) {
	if err := pause(ctx, 3*time.Second); err != nil { // Events come late.
		return nil, err
	}
	used, err := cpu(m.pid)
	if err != nil {
		return nil, err
	}
	requests, err := m.world.requests(ctx)
	if err != nil {
		return nil, err
	}
	asked, each := requests.since(m.requests).without(own, n), float64(n)
	c := &cost{CPU: milliseconds(used-m.cpu) / each, Requests: map[string]float64{}, Writes: asked.writes() / each, Reads: asked.reads() / each}
	for what, count := range asked {
		c.Requests[what] = count / each
	}
	return c, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// cpu is the processor time that a process has used.
func cpu(pid int) (time.Duration, error) {
	const perSecond = 100 // USER_HZ, which is the same on every architecture of Linux.
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is not understood", pid)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / perSecond, nil
}

// memory is what a process has in memory now, and its peak, in MB.
func memory(pid int) (now, peak float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kB, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kB / 1024
		case "VmHWM:":
			peak = kB / 1024
		}
	}
	return now, peak, nil
}
