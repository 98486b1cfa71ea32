package shop;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariCredentialsProvider;
import com.zaxxer.hikari.HikariDataSource;
import com.zaxxer.hikari.util.Credentials;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import javax.sql.DataSource;

/** A web service whose database user changes while it runs. GET / answers as whom it works. */
public final class App {
    private static final Path URL_FILE = Path.of(System.getenv().getOrDefault("DATABASE_URL_FILE", "/lessor/secrets/url"));

    private static URI known;

    /** The file's URL. The file is replaced as a whole, so user and password always belong together. */
    private static URI currentUrl() {
        try {
            return URI.create(Files.readString(URL_FILE).trim());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static Credentials currentUser() {
        var parts = currentUrl().getRawUserInfo().split(":", 2);
        return Credentials.of(decoded(parts[0]), decoded(parts[1]));
    }

    private static String decoded(String part) {
        // In a URL's user a plus sign stands for itself.
        return URLDecoder.decode(part.replace("+", "%2B"), StandardCharsets.UTF_8);
    }

    private static HikariDataSource open(URI url) {
        var config = new HikariConfig();
        var query = url.getRawQuery() == null ? "" : "?" + url.getRawQuery();
        config.setJdbcUrl("jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getRawPath() + query);
        config.setMaximumPoolSize(5);
        config.setCredentialsProvider((HikariCredentialsProvider) App::currentUser);
        return new HikariDataSource(config);
    }

    /** Leaves the connections of a former user. Those in use end when they are given back. */
    private static void follow(HikariDataSource pool) {
        try {
            var url = currentUrl();
            if (!url.equals(known)) {
                known = url;
                pool.getHikariPoolMXBean().softEvictConnections();
                System.out.println("working as " + currentUser().getUsername());
            }
        } catch (RuntimeException error) {
            // An exception would end the schedule.
            error.printStackTrace();
        }
    }

    private static String work(DataSource pool) throws SQLException {
        try (var connection = pool.getConnection(); var statement = connection.createStatement()) {
            statement.execute("INSERT INTO notes (body) VALUES ('from Java')");
            try (var rows = statement.executeQuery("SELECT current_user")) {
                rows.next();
                return rows.getString(1);
            }
        }
    }

    private static void answer(HttpExchange exchange, DataSource pool) throws IOException {
        var status = 200;
        String text;
        try {
            text = work(pool);
        } catch (SQLException error) {
            error.printStackTrace();
            status = 500;
            text = "the database does not answer";
        }
        var body = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(status, body.length);
        try (var out = exchange.getResponseBody()) {
            out.write(body);
        }
    }

    public static void main(String[] arguments) throws IOException {
        known = currentUrl();
        var pool = open(known);
        Executors.newSingleThreadScheduledExecutor().scheduleWithFixedDelay(() -> follow(pool), 1, 1, TimeUnit.SECONDS);
        var port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        var server = HttpServer.create(new InetSocketAddress(port), 0);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/", exchange -> answer(exchange, pool));
        server.start();
    }
}
