// The model file: layout as the safetensors format has it, every kind of damage refused, writing all or nothing.
#include "models/model_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

namespace bib {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A folder of its own for each test.
struct ModelFileTest : testing::Test {
  fs::path folder = fs::path(testing::TempDir()) /
                    ("model_file_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
  std::string path = (folder / "m.bib").string();
  void SetUp() override {
    fs::remove_all(folder);
    fs::create_directories(folder);
  }
  void TearDown() override {
    fs::permissions(folder, fs::perms::owner_all);
    fs::remove_all(folder);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder)) found.push_back(entry.path().filename().string());
    return found;
  }
};

ModelFile example() {
  ModelFile model;
  model.metadata = {{"bib.version", "9.9.9"}, {"config", "{\"unit\":\"syllable\"}"}, {"quote", "가 \"\\ \n"}};
  std::vector<float> w(48);
  for (int i = 0; i < 48; ++i) w[static_cast<std::size_t>(i)] = static_cast<float>(i) * 0.5f;
  model.add("a.odd", std::vector<std::uint8_t>{1, 2, 255}, {3});
  model.add("crf.transition", std::vector<float>{0, -std::numeric_limits<float>::infinity(), 1.5f}, {1, 3});
  model.add("ids", std::vector<std::int32_t>{-1, std::numeric_limits<std::int32_t>::max()}, {2});
  model.add("none", std::vector<float>{}, {0, 4});
  model.add("z.w", std::move(w), {3, 16});
  return model;
}

std::string bytes_of(const ModelFile& model) {
  const std::vector<std::byte> file = encode(model);
  return {reinterpret_cast<const char*>(file.data()), file.size()};
}

std::string message_of(std::string_view bytes) {
  try {
    const std::vector<char> copy(bytes.begin(), bytes.end());  // of exact size, so that a sanitizer sees an overrun
    parse_model(std::as_bytes(std::span(copy)), "m.bib");
  } catch (const ModelError& error) {
    return error.what();
  }
  return "accepted";
}

/// A file with this header and these data, and with a right checksum if the header has a place for it.
std::string assemble(std::string json, const std::string& data) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(json.size() >> (8 * i) & 255);
  return bytes + json + data;
}
std::string with_tensor(const std::string& entry, std::size_t data_bytes) {
  return assemble(R"({"__metadata__":{"bib.checksum":"0000000000000000","bib.min_reader":"1"},)" + entry + "}",
                  std::string(data_bytes, 'x'));
}

TEST_F(ModelFileTest, IsWhatAnIndependentSafetensorsReaderExpects) {
  write_model(path, example());
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  ASSERT_LT(length, bytes.size());
  EXPECT_EQ((length + 8) % 64, 0u);
  const auto header = nlohmann::ordered_json::parse(bytes.substr(8, length));
  EXPECT_EQ(header["__metadata__"]["config"], "{\"unit\":\"syllable\"}");
  EXPECT_EQ(header["__metadata__"]["quote"], "가 \"\\ \n");
  for (const auto& [key, value] : header["__metadata__"].items()) EXPECT_TRUE(value.is_string()) << key;
  std::size_t reached = 0;
  for (const auto& [name, entry] : header.items()) {  // in file order: no holes, sizes as the shapes say
    if (name == "__metadata__") continue;
    std::size_t size = entry["dtype"] == "U8" ? 1 : 4;
    for (const auto& extent : entry["shape"]) size *= extent.get<std::size_t>();
    EXPECT_EQ(entry["data_offsets"][0].get<std::size_t>(), reached) << name;
    EXPECT_EQ(entry["data_offsets"][1].get<std::size_t>(), reached + size) << name;
    EXPECT_EQ(reached % (entry["dtype"] == "U8" ? 1 : 4), 0u) << name;
    reached += size;
  }
  EXPECT_EQ(8 + length + reached, bytes.size());
  const auto w = header["z.w"]["data_offsets"][0].get<std::size_t>();
  EXPECT_EQ(w, 0u) << "a tensor of whole cache lines comes first and stays aligned";
  float value = 0;
  std::memcpy(&value, bytes.data() + 8 + length + w + 4 * 17, 4);
  EXPECT_EQ(value, 8.5f);
}

TEST_F(ModelFileTest, ReadsBackWhatWasWritten) {
  write_model(path, example());
  const ModelFile model = read_model(path);
  EXPECT_EQ(model.text("config"), "{\"unit\":\"syllable\"}");
  EXPECT_EQ(model.text("bib.min_reader"), std::to_string(model_format_version));
  const auto w = model.get<float, 2>("z.w");
  EXPECT_EQ(w.shape, (std::array{3, 16}));
  EXPECT_EQ(w[2][15], 23.5f);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(w.data) % 64, 0u);
  EXPECT_EQ((model.get<float, 2>("crf.transition")[0][1]), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(model.get_span<std::int32_t>("ids")[1], std::numeric_limits<std::int32_t>::max());
  EXPECT_EQ(model.get_span<std::uint8_t>("a.odd")[2], 255);
  EXPECT_EQ((model.get<float, 2>("none").size()), 0);
  EXPECT_EQ(bytes_of(model), bytes_of(example())) << "the same content gives the same bytes";
}

TEST_F(ModelFileTest, MissingOrDifferentContentIsNamed) {
  write_model(path, example());
  const ModelFile model = read_model(path);
  const auto message = [&](auto&& get) -> std::string {
    try {
      get();
    } catch (const ModelError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message([&] { model.get<float, 1>("gone"); }), HasSubstr("m.bib: has no tensor 'gone'"));
  EXPECT_THAT(message([&] { model.get<float, 1>("z.w"); }), HasSubstr("is F32 of rank 2, expected F32 of rank 1"));
  EXPECT_THAT(message([&] { model.get<std::int32_t, 2>("z.w"); }), HasSubstr("expected I32 of rank 2"));
  EXPECT_THAT(message([&] { model.text("task"); }), HasSubstr("has no 'task' in its metadata"));
  ModelFile twice = example();
  EXPECT_THROW(twice.add("z.w", std::vector<float>{1}, {1}), std::invalid_argument);
}

TEST_F(ModelFileTest, EveryFlippedByteIsNoticed) {
  const std::string good = bytes_of(example());
  ASSERT_EQ(message_of(good), "accepted");
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const char flip : {'\x01', '\x80'}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      ASSERT_THAT(message_of(bad), HasSubstr("model m.bib: ")) << "byte " << i;
    }
  }
}

TEST_F(ModelFileTest, EveryTruncationIsNoticed) {
  const std::string good = bytes_of(example());
  for (std::size_t n = 0; n < good.size(); ++n) {
    ASSERT_THAT(message_of(good.substr(0, n)), HasSubstr("model m.bib: ")) << n << " bytes";
  }
  EXPECT_THAT(message_of(good.substr(0, good.size() - 1)), HasSubstr("damaged or incomplete"));
  EXPECT_THAT(message_of(good + "x"), HasSubstr("damaged or incomplete"));
}

TEST_F(ModelFileTest, ForeignAndNewerFilesSayWhatTheyAre) {
  EXPECT_THAT(message_of("제목\t내용\n this is text, not a model"), HasSubstr("not a bib model"));
  EXPECT_THAT(message_of(std::string(64, '\xff')), HasSubstr("not a bib model"));
  EXPECT_THAT(message_of(assemble(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "1234")),
              HasSubstr("a safetensors file, but not a bib model"));
  EXPECT_THAT(message_of(assemble(R"({"__metadata__":{"bib.min_reader":"1"}})", "")), HasSubstr("rewrote it"));
  ModelFile newer = example();
  newer.metadata["bib.min_reader"] = "999";
  EXPECT_THAT(message_of(bytes_of(newer)),
              HasSubstr("needs a reader of format 999, this bib reads up to 1; use bib 9.9.9"));
  newer.metadata["bib.min_reader"] = "-1";
  EXPECT_THAT(message_of(bytes_of(newer)), HasSubstr("not a number"));
}

TEST_F(ModelFileTest, TensorsThatDoNotFitAreRefused) {
  const auto entry = [](const char* dtype, const char* shape, const char* offsets) {
    return R"("t":{"dtype":")" + std::string(dtype) + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[2]", "[0,8]"), 8)), HasSubstr("checksum"));  // else well-formed
  EXPECT_THAT(message_of(with_tensor(entry("F16", "[2]", "[0,4]"), 4)), HasSubstr("element type F16"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[3]", "[0,8]"), 8)), HasSubstr("larger than the file"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[1]", "[0,8]"), 8)), HasSubstr("has 8 bytes, its shape 4"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[2]", "[8,16]"), 8)), HasSubstr("outside the file"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[2]", "[8,0]"), 8)), HasSubstr("outside the file"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[1]", "[1,5]"), 8)), HasSubstr("not aligned"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[2]", "[4,12]"), 12)), HasSubstr("hole"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[2]", "[0,8]"), 12)), HasSubstr("the file has 12"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[-2]", "[0,8]"), 8)), HasSubstr("no usable shape"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[2.0]", "[0,8]"), 8)), HasSubstr("no usable shape"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[4294967298]", "[0,8]"), 8)), HasSubstr("no usable shape"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[65536,65536,65536,65536]", "[0,0]"), 0)), HasSubstr("larger"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4)), HasSubstr("no usable shape"));
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[1]", "[0]"), 4)), HasSubstr("no usable data_offsets"));
  EXPECT_THAT(message_of(with_tensor(R"("t":5)", 4)), HasSubstr("has no dtype"));
  const std::string other = R"(,"u":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_THAT(message_of(with_tensor(entry("F32", "[2]", "[0,8]") + other, 8)), HasSubstr("overlaps"));
}

TEST_F(ModelFileTest, PathsThatAreNoModelsAreNamed) {
  const auto message = [](const std::string& name) -> std::string {
    try {
      read_model(name);
    } catch (const ModelError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(message(path), HasSubstr("cannot open: No such file"));
  EXPECT_THAT(message(folder.string()), HasSubstr("is a directory"));
  std::ofstream(path).close();
  EXPECT_THAT(message(path), HasSubstr("is empty"));
}

std::string write_message(const std::string& path) {
  try {
    write_model(path, example());
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "written";
}

TEST_F(ModelFileTest, WritingReplacesTheWholeFileAndLeavesNothingElse) {
  std::ofstream(path) << "the old file";
  const mode_t before = ::umask(022);
  write_model(path, example());
  ::umask(before);
  EXPECT_EQ(names(), std::vector<std::string>{"m.bib"});
  EXPECT_NO_THROW(read_model(path));
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644u);
}

TEST_F(ModelFileTest, ALinkStaysALink) {
  const std::string link = (folder / "latest.bib").string();
  std::ofstream(path) << "old";
  fs::create_symlink("m.bib", link);
  write_model(link, example());
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_NO_THROW(read_model(path));
}

TEST_F(ModelFileTest, TargetsThatAreNoFilesAreLeftAlone) {
  EXPECT_THAT(write_message("/dev/full"), HasSubstr("cannot write model /dev/full: not a regular file"));
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  EXPECT_THAT(write_message(folder.string()), HasSubstr("Is a directory"));
  EXPECT_THAT(write_message((folder / "none" / "m.bib").string()), HasSubstr("create the folder first"));
  EXPECT_THAT(write_message(folder.string() + "/"), HasSubstr("a file name is expected"));
}

TEST_F(ModelFileTest, ARefusedWriteKeepsTheOldFile) {
  std::ofstream(path) << "the old file";
  fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
  if (::access(folder.c_str(), W_OK) == 0) GTEST_SKIP() << "run as a user that permissions bind (not root)";
  EXPECT_THAT(write_message(path), HasSubstr("choose a folder you may write to"));
  fs::permissions(folder, fs::perms::owner_all);
  EXPECT_EQ(names(), std::vector<std::string>{"m.bib"});
  EXPECT_EQ(fs::file_size(path), 12u);
}

/// In a child process, because the limit on file size cannot be lifted again: the write itself fails half-way.
TEST_F(ModelFileTest, AWriteThatFailsHalfWayKeepsTheOldFile) {
  std::ofstream(path) << "the old file";
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{500, 500};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = write_message(path);
    ::_exit(message.find("write: File too large") != std::string::npos ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "the child did not see the error";
  EXPECT_EQ(names(), std::vector<std::string>{"m.bib"});
  EXPECT_EQ(fs::file_size(path), 12u);
}

TEST_F(ModelFileTest, AFullDiskKeepsTheOldFile) {
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "needs the right to mount a tmpfs";
  std::ofstream(path) << "the old file";
  ModelFile large = example();
  large.add("large", std::vector<float>(100'000), {100'000});
  std::string message;
  try {
    write_model(path, large);
  } catch (const std::runtime_error& error) {
    message = error.what();
  }
  const auto left = names();
  const auto size = fs::file_size(path);
  ::umount(folder.c_str());
  EXPECT_THAT(message, HasSubstr("No space left on device; free some space"));
  EXPECT_EQ(left, std::vector<std::string>{"m.bib"});
  EXPECT_EQ(size, 12u);
}

}  // namespace
}  // namespace bib
