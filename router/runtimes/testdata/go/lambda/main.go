// Lambda is a handler of aws-lambda-go, unmodified.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

type input struct {
	Do string `json:"do"`
	N  int    `json:"n"`
}

func handle(_ context.Context, in input) (any, error) {
	switch in.Do {
	case "fail":
		return nil, errors.New("boom")
	case "slow":
		time.Sleep(2500 * time.Millisecond)
	case "error":
		return map[string]string{"error": "boom"}, nil
	case "empty":
		return nil, nil
	}
	return map[string]int{"n": 2 * in.N}, nil
}

func main() { lambda.Start(handle) }
