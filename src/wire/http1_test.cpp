// HTTP/1.1 by the byte: what the parser takes and refuses, and what the server answers to odd
// clients.
#include <gtest/gtest.h>

#include "wire/http1_parser.h"
#include "wire/session.h"
#include "wire/test_streams.h"

namespace dure::wire {
namespace {

int request_error(std::string_view head) {
  Http1Head out;
  if (auto parsed = parse_http1_request(head, out); !parsed) return parsed.error().code;
  const auto framing = request_framing(out);
  return framing ? 0 : framing.error().code;
}

TEST(Http1Parser, TakesOrdinaryRequests) {
  Http1Head head;
  ASSERT_TRUE(parse_http1_request(
      "GET /a?b HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nX-Two:  a b \r\n\r\n", head));
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.target, "/a?b");
  EXPECT_EQ(head.headers.get("x-empty"), "");
  EXPECT_EQ(head.headers.get("x-two"), "a b");
  EXPECT_TRUE(http1_keep_alive(head));
}

TEST(Http1Parser, RefusesWhatTwoReadersCouldUnderstandDifferently) {
  EXPECT_EQ(
      request_error(
          "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
      400);
  EXPECT_EQ(
      request_error("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
      400);
  EXPECT_EQ(request_error("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n"), 400);
  EXPECT_EQ(request_error("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1 2\r\n\r\n"), 400);
  EXPECT_EQ(request_error("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
            501);
  EXPECT_EQ(request_error("GET / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(request_error("GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n"), 400);
  EXPECT_EQ(request_error("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n"), 400);
  EXPECT_EQ(request_error("GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n"), 400);
  EXPECT_EQ(request_error("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(request_error("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"), 400);
  EXPECT_EQ(request_error("GET  / HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(request_error("GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(request_error("GET / HTTP/2.0\r\nHost: x\r\n\r\n"), 505);
  EXPECT_EQ(request_error("nonsense\r\n\r\n"), 400);
}

std::string read_body(Http1Framing framing, std::string_view bytes, size_t step, bool& good) {
  Http1BodyReader reader(framing);
  std::string out;
  good = true;
  for (size_t at = 0; at < bytes.size() && good; at += step) {
    auto part = bytes.substr(at, step);
    while (!part.empty() && !reader.done()) {
      std::string_view piece;
      if (!reader.read(part, piece)) {
        good = false;
        break;
      }
      out += piece;
    }
  }
  good = good && reader.done();
  return out;
}

TEST(Http1Parser, ReadsChunkedBodiesWhereverTheyBreak) {
  const std::string_view body =
      "5;ext=1\r\nhello\r\n1\r\n \r\n005\r\nworld\r\n0\r\nTrailer: x\r\n\r\n";
  for (size_t step = 1; step <= body.size(); ++step) {
    bool good = false;
    EXPECT_EQ(read_body({Http1Framing::Kind::chunked}, body, step, good), "hello world");
    EXPECT_TRUE(good);
  }
  for (const std::string_view bad : {"5\r\nhelloX\r\n0\r\n\r\n", "-1\r\n", "g\r\n", "5\nhello\r\n",
                                     "\r\n", "fffffffffffffffff\r\n"}) {
    bool good = false;
    read_body({Http1Framing::Kind::chunked}, bad, 1, good);
    EXPECT_FALSE(good) << bad;
  }
}

// Sends bytes to a server on a plain connection and answers all it says until it closes.
class Http1Server : public testing::Test {
 protected:
  // Pieces after the first wait until the server has said something.
  std::string talk(std::vector<std::string> pieces, Handler handler, ServerLimits limits = {},
                   bool finish = true) {
    run::LoopThread one("client"), two("server");
    auto [a, b] = stream_pair(one.loop(), two.loop());
    Log log;
    a->start({.on_data = [&](std::string_view bytes) { log.add(std::string(bytes)); },
              .on_end = [&] { log.add("<end>"); },
              .on_close = {},
              .on_drained = {}});
    serve_stream(std::move(b), std::make_shared<Peer>(), std::move(handler), std::move(limits));
    for (auto& piece : pieces) {
      if (&piece != &pieces.front()) log.wait_for_any();
      a->write(SharedBytes(std::move(piece)));
    }
    if (finish) a->finish_writing();
    EXPECT_TRUE(log.wait_for("<end>"));
    return log.joined();
  }
  static void echo_target(std::shared_ptr<Exchange> exchange) {
    exchange->respond(Response{.body = exchange->request().target + exchange->request().body});
  }
};

TEST_F(Http1Server, AnswersPipelinedRequestsInOrder) {
  auto pool = run::make_pool("pool", 2);
  const std::string answer = talk(
      {"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: "
       "4\r\n\r\nbodyGET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"},
      [&](std::shared_ptr<Exchange> exchange) {
        pool->post([exchange] { echo_target(exchange); });
      },
      {}, false);
  EXPECT_EQ(answer,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n/1HTTP/1.1 200 OK\r\ncontent-length: "
            "6\r\n\r\n/2body"
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/3<end>");
}

TEST_F(Http1Server, ContinuesWhenAsked) {
  const std::string answer = talk(
      {"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", "ok"},
      echo_target);
  EXPECT_EQ(answer,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n/xok<end>");
}

TEST_F(Http1Server, SpeaksToOldClients) {
  EXPECT_EQ(talk({"GET /x HTTP/1.0\r\n\r\n"}, echo_target, {}, false),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/x<end>");
  const std::string streamed = talk(
      {"GET /x HTTP/1.0\r\n\r\n"},
      [](std::shared_ptr<Exchange> exchange) {
        exchange->start(200, {});
        exchange->write(SharedBytes(std::string("not chunked")));
        exchange->finish();
      },
      {}, false);
  EXPECT_EQ(streamed, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nnot chunked<end>");
}

TEST_F(Http1Server, StreamsInChunksWithTrailers) {
  const std::string answer =
      talk({"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"}, [](std::shared_ptr<Exchange> exchange) {
        exchange->start(200, {});
        exchange->write(SharedBytes(std::string("one")));
        exchange->write(SharedBytes(std::string(26, 'x')));
        Headers trailers;
        trailers.add("X-T", "1");
        exchange->finish_with_trailers(std::move(trailers));
      });
  EXPECT_EQ(answer, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n1a\r\n" +
                        std::string(26, 'x') + "\r\n0\r\nx-t: 1\r\n\r\n<end>");
}

TEST_F(Http1Server, RefusesInProperForm) {
  EXPECT_TRUE(talk({"BROKEN\r\n\r\n"}, echo_target, {}, false).starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(talk({"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"}, echo_target,
                   {.body_bytes_max = 99}, false)
                  .starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(talk({"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" +
                    std::string(100, 'x') + "\r\n0\r\n\r\n"},
                   echo_target, {.body_bytes_max = 99}, false)
                  .starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(talk({"GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(2000, 'x')}, echo_target,
                   {.header_bytes_max = 1000}, false)
                  .starts_with("HTTP/1.1 431 "));
}

TEST_F(Http1Server, GivesUpOnSlowRequests) {
  EXPECT_EQ(talk({}, echo_target, {.header_timeout = 20ms}, false), "<end>");
  EXPECT_TRUE(talk({"GET / HTTP/1.1\r\nHo"}, echo_target, {.header_timeout = 20ms}, false)
                  .starts_with("HTTP/1.1 408 "));
  EXPECT_EQ(talk({"GET / HTTP/1.1\r\nHost: x\r\n\r\n"}, echo_target, {.idle_timeout = 20ms}, false),
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n/<end>");
}

TEST_F(Http1Server, AClientThatOnlyFinishedWritingIsAnswered) {
  auto pool = run::make_pool("pool", 1);
  const std::string answer =
      talk({"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"}, [&](std::shared_ptr<Exchange> exchange) {
        pool->post([exchange] {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          echo_target(exchange);
        });
      });
  EXPECT_EQ(answer, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n/x<end>");
}

TEST_F(Http1Server, ResponseHeadersCannotBeSplit) {
  const std::string answer =
      talk({"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"}, [](std::shared_ptr<Exchange> exchange) {
        Response response;
        response.headers.add("x-evil", "a\r\nset-cookie: b");
        exchange->respond(std::move(response));
      });
  EXPECT_EQ(answer, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n<end>");
}

}  // namespace
}  // namespace dure::wire
