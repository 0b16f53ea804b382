package daemon

import (
	"testing"

	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/secret"
)

func answerTo(id int, text string) *daemonclient.Message {
	a := daemonclient.ClearText(text)
	return &daemonclient.Message{Answer: &a, AnswerTo: id}
}

// got returns the answer that a question has; "-": none.
func (x *question) got() string {
	select {
	case m := <-x.answer:
		return string(*m.Answer)
	default:
		return "-"
	}
}

// An answer is for the question that it names, and a late answer is for none.
func TestAnswersToQuestions(t *testing.T) {
	var q questions
	begin := func() *question {
		x, err := q.begin()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	check := func(what string, x *question, want string) {
		t.Helper()
		if got := x.got(); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	q.take(answerTo(0, "unasked"))
	q.take(answerTo(1, "unasked"))
	over, next := begin(), begin() // the first was given up
	check("before any answer", over, "-")
	q.take(answerTo(over.id, "first"))
	check("late answer", next, "-")
	q.take(answerTo(over.id, "again"))
	q.take(answerTo(99, "unknown"))
	check("answers to others", next, "-")
	q.take(answerTo(next.id, "second"))
	check("its own answer", next, "second")

	over, next = begin(), begin()
	q.take(answerTo(0, "first"))
	check("the next, of a client that answers in order", next, "-")
	check("the oldest, of a client that answers in order", over, "first")
	q.take(answerTo(0, "second"))
	check("then the next", next, "second")
	for range maxOpen {
		begin()
	}
	if _, err := q.begin(); err != errNoAnswers {
		t.Errorf("after %d questions without an answer: got %v, want %v", maxOpen, err, errNoAnswers)
	}
}

// Secrets go over the socket in clear, and are shown by no message.
func TestSecretsOnTheSocket(t *testing.T) {
	for _, text := range []string{"hunter2", `q"uo\te`, "<&>é\n😀", ""} {
		b, err := daemonclient.ClearText(text).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var back daemonclient.ClearText
		if err := back.UnmarshalJSON(b); err != nil || string(back) != text {
			t.Errorf("%q comes back as %q, %v", text, string(back), err)
		}
	}
	p := secret.Place{Kind: secret.Password, Method: "sudo", Target: "web1+sudo", Host: "web1",
		User: "root"}
	if got := secret.Place(daemonclient.Place(p)); got != p {
		t.Errorf("got %+v, want %+v", got, p)
	}
}
