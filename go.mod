module github.com/mitogen-go/mitogen

go 1.26.0
