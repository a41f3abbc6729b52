#include "formats/npy.h"

#include <algorithm>
#include <cstring>
#include <regex>

#include "base/atomic_file.h"
#include "base/byte_reader.h"
#include "base/error.h"
#include "base/mapped_file.h"

namespace cadre {
namespace {

constexpr std::string_view kMagic("\x93NUMPY\x01\x00", 8);  // with version 1.0

// A dimension as Python writes it; 18 digits cannot overflow.
int64_t ReadDimension(const std::string& digits) { return std::stoll(digits); }

}  // namespace

void WriteNpy(const std::string& path, Mat<const float> matrix) {
  std::string header = fmt::format(
      "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", matrix.rows, matrix.cols);
  const size_t before = kMagic.size() + 2;
  header.resize((before + header.size() + 1 + 63) / 64 * 64 - before, ' ');
  header.back() = '\n';
  const auto size = static_cast<uint16_t>(header.size());

  AtomicFile file(path);
  file.Write(kMagic);
  file.Write(std::as_bytes(std::span(&size, 1)));
  file.Write(header);
  for (int64_t r = 0; r < matrix.rows; ++r) file.Write(std::as_bytes(matrix.row_span(r)));
  file.Commit();
}

NpyMatrix ReadNpy(const std::string& path) {
  const MappedFile file(path);
  ByteReader reader(file.bytes(), path);
  if (reader.TakeText(kMagic.size(), "the magic") != kMagic)
    throw Error("{}: is not an .npy file of version 1.0", path);
  const std::string header(
      reader.TakeText(reader.Read<uint16_t>("the header length"), "the header"));
  static const std::regex kPattern(
      R"(\{'descr': '<f4', 'fortran_order': False, 'shape': \((\d{1,18}), (\d{1,18})\),? ?\} *\n)");
  std::smatch match;
  if (header.size() > 512 || !std::regex_match(header, match, kPattern)) {
    throw Error("{}: the header is {} but must describe a '<f4' array of two dimensions in C order",
                path, Printable(header));
  }
  NpyMatrix matrix;
  matrix.rows = ReadDimension(match[1]);
  matrix.cols = ReadDimension(match[2]);
  const uint64_t count =
      CheckedMul(static_cast<uint64_t>(matrix.rows), static_cast<uint64_t>(matrix.cols), path);
  if (CheckedMul(count, sizeof(float), path) != reader.remaining()) {
    throw Error("{}: holds {} bytes of data but {} x {} values need {}", path, reader.remaining(),
                matrix.rows, matrix.cols, count * sizeof(float));
  }
  matrix.values.resize(count);
  const auto data = reader.Take(reader.remaining(), "the data");
  if (!data.empty()) std::memcpy(matrix.values.data(), data.data(), data.size());
  return matrix;
}

}  // namespace cadre
