// A web service whose database user changes while it runs. GET / answers as whom it works.
package main

import (
	"cmp"
	"context"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var urlFile = cmp.Or(os.Getenv("DATABASE_URL_FILE"), "/lessor/secrets/url")

// currentURL reads the file, which is replaced as a whole: user and password always belong together.
func currentURL() (string, error) {
	text, err := os.ReadFile(urlFile)
	return strings.TrimSpace(string(text)), err
}

func connectAsCurrentUser(_ context.Context, config *pgx.ConnConfig) error {
	url, err := currentURL()
	if err != nil {
		return err
	}
	current, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	config.User, config.Password = current.User, current.Password
	return nil
}

// follow leaves the connections of a former user. Those in use end when they are given back.
func follow(pool *pgxpool.Pool, known string) {
	for range time.Tick(time.Second) {
		url, err := currentURL()
		if err != nil {
			log.Print(err)
			continue
		}
		if url != known {
			known = url
			pool.Reset()
			log.Print("the database user has changed")
		}
	}
}

func work(ctx context.Context, pool *pgxpool.Pool) (user string, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO notes (body) VALUES ('from Go')"); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT current_user").Scan(&user)
	})
	return user, err
}

func main() {
	url, err := currentURL()
	if err != nil {
		log.Fatal(err)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		log.Fatal(err)
	}
	config.BeforeConnect = connectAsCurrentUser
	config.MaxConns = 5
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	go follow(pool, url)
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		user, err := work(request.Context(), pool)
		if err != nil {
			log.Print(err)
			http.Error(response, "the database does not answer", http.StatusInternalServerError)
			return
		}
		io.WriteString(response, user)
	})
	log.Fatal(http.ListenAndServe(":"+cmp.Or(os.Getenv("PORT"), "8080"), nil))
}
