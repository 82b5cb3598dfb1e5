//===- npy.cpp - numpy's .npy and .npz files ------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "npy.h"

#include <zlib.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace effrt;
using namespace effrt::tools;

namespace {

constexpr uint64_t maxArrayBytes = uint64_t(1) << 36;

Error bad(const std::string &where, std::string why) {
  return makeError("EFF0607", "the array file cannot be read", where,
                   std::move(why));
}

template <typename T> T load(const uint8_t *p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

/// The text between `open` after `key` and `close` in numpy's header
/// dictionary.
Result<std::string> field(const std::string &header, const std::string &key,
                          char open, char close, const std::string &where) {
  size_t at = header.find("'" + key + "'");
  size_t colon = header.find(':', at);
  if (at == std::string::npos || colon == std::string::npos)
    return bad(where, "its header has no '" + key + "'");
  size_t begin = header.find(open, colon);
  size_t end = header.find(close, begin + 1);
  if (begin == std::string::npos || end == std::string::npos)
    return bad(where, "the '" + key + "' of its header is damaged");
  return header.substr(begin + 1, end - begin - 1);
}

Result<NpyArray> parseNpy(const uint8_t *data, size_t size,
                          const std::string &where) {
  if (size < 10 || std::memcmp(data, "\x93NUMPY", 6) != 0)
    return bad(where, "it is not a numpy array");
  size_t lengthBytes = data[6] >= 2 ? 4 : 2;
  size_t start = 8 + lengthBytes;
  if (size < start)
    return bad(where, "its header is cut off");
  size_t headerBytes =
      lengthBytes == 4 ? load<uint32_t>(data + 8) : load<uint16_t>(data + 8);
  if (headerBytes > size - start)
    return bad(where, "its header is cut off");
  std::string header(reinterpret_cast<const char *>(data) + start, headerBytes);

  auto descr = field(header, "descr", '\'', '\'', where);
  if (!descr)
    return descr.takeError();
  if (header.find("'fortran_order': False") == std::string::npos)
    return bad(where, "it is stored in Fortran order; save a C-ordered copy");
  NpyArray array;
  array.dtype = *descr;
  if (!array.dtype.empty() && (array.dtype[0] == '<' || array.dtype[0] == '|'))
    array.dtype.erase(0, 1);
  int64_t elementBytes = dtypeBytes(array.dtype);
  if (elementBytes == 0)
    return bad(where, "its element type '" + *descr + "' is not supported");

  auto shape = field(header, "shape", '(', ')', where);
  if (!shape)
    return shape.takeError();
  uint64_t bytes = static_cast<uint64_t>(elementBytes);
  for (const char *p = shape->c_str(); *p;) {
    if (*p == ' ' || *p == ',') {
      ++p;
      continue;
    }
    char *end = nullptr;
    unsigned long long dim = std::strtoull(p, &end, 10);
    if (end == p)
      return bad(where, "its shape is damaged");
    array.shape.push_back(static_cast<int64_t>(dim));
    if (dim != 0 && bytes > maxArrayBytes / dim)
      return bad(where, "its shape is too large");
    bytes *= dim;
    p = end;
  }
  const uint8_t *values = data + start + headerBytes;
  if (size - start - headerBytes < bytes)
    return bad(where, "it holds fewer values than its shape says");
  array.bytes.assign(values, values + bytes);
  return array;
}

/// Inflates a raw deflate stream of known size.
bool inflateRaw(const uint8_t *data, size_t size, std::vector<uint8_t> &out) {
  z_stream stream = {};
  if (inflateInit2(&stream, -15) != Z_OK)
    return false;
  stream.next_in = const_cast<uint8_t *>(data);
  stream.next_out = out.data();
  size_t inLeft = size, outLeft = out.size();
  int status = Z_OK;
  while (status == Z_OK) {
    uInt in = static_cast<uInt>(std::min<size_t>(inLeft, 1u << 30));
    uInt room = static_cast<uInt>(std::min<size_t>(outLeft, 1u << 30));
    stream.avail_in = in;
    stream.avail_out = room;
    status = inflate(&stream, Z_NO_FLUSH);
    inLeft -= in - stream.avail_in;
    outLeft -= room - stream.avail_out;
    if (status == Z_OK && in == stream.avail_in && room == stream.avail_out)
      break;
  }
  inflateEnd(&stream);
  return status == Z_STREAM_END && outLeft == 0;
}

} // namespace

Result<std::vector<uint8_t>> tools::readBytes(const std::string &path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return makeError("EFF0101", "cannot read the file", path,
                     std::strerror(errno));
  struct stat info;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return makeError("EFF0101", "cannot read the file", path,
                     "it is not a regular file");
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(info.st_size));
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t n = ::read(fd, bytes.data() + done, bytes.size() - done);
    if (n <= 0)
      break;
    done += static_cast<size_t>(n);
  }
  ::close(fd);
  if (done != bytes.size())
    return makeError("EFF0101", "cannot read the file", path,
                     "it ended too early");
  return bytes;
}

int64_t tools::dtypeBytes(const std::string &dtype) {
  static constexpr const char *known[] = {"f4", "f8", "f2", "i8", "i4", "i2",
                                          "i1", "u8", "u4", "u2", "u1", "b1"};
  for (const char *name : known)
    if (dtype == name)
      return dtype[1] - '0';
  return 0;
}

int64_t NpyArray::size() const {
  int64_t n = 1;
  for (int64_t dim : shape)
    n *= dim;
  return n;
}

double NpyArray::at(int64_t i) const {
  const uint8_t *p = bytes.data() + i * dtypeBytes(dtype);
  if (dtype == "f4")
    return load<float>(p);
  if (dtype == "f8")
    return load<double>(p);
  if (dtype == "i8")
    return static_cast<double>(load<int64_t>(p));
  if (dtype == "u8")
    return static_cast<double>(load<uint64_t>(p));
  if (dtype == "i4")
    return load<int32_t>(p);
  if (dtype == "u4")
    return load<uint32_t>(p);
  if (dtype == "i2")
    return load<int16_t>(p);
  if (dtype == "u2")
    return load<uint16_t>(p);
  if (dtype == "i1")
    return load<int8_t>(p);
  if (dtype == "f2") {
    uint16_t h = load<uint16_t>(p);
    int exponent = (h >> 10) & 31;
    double mantissa = h & 1023;
    double value = exponent == 0 ? std::ldexp(mantissa, -24)
                   : exponent == 31
                       ? (mantissa ? NAN : INFINITY)
                       : std::ldexp(mantissa + 1024, exponent - 25);
    return h & 0x8000 ? -value : value;
  }
  return *p; // u1, b1
}

Result<NpyArray> tools::readNpy(const std::string &path) {
  auto bytes = readBytes(path);
  if (!bytes)
    return bytes.takeError();
  return parseNpy(bytes->data(), bytes->size(), path);
}

Result<std::map<std::string, NpyArray>>
tools::readNpz(const std::string &path) {
  auto file = readBytes(path);
  if (!file)
    return file.takeError();
  const std::vector<uint8_t> &data = *file;
  // End of central directory: the last 22 bytes, before a comment.
  size_t end = std::string::npos;
  for (size_t back = 22; back <= data.size() && back < 22 + 65536; ++back)
    if (load<uint32_t>(data.data() + data.size() - back) == 0x06054b50) {
      end = data.size() - back;
      break;
    }
  if (end == std::string::npos)
    return bad(path, "it is not a zip archive");
  uint64_t count = load<uint16_t>(data.data() + end + 10);
  uint64_t at = load<uint32_t>(data.data() + end + 16);

  std::map<std::string, NpyArray> arrays;
  for (uint64_t i = 0; i < count; ++i) {
    if (at > data.size() || data.size() - at < 46 ||
        load<uint32_t>(data.data() + at) != 0x02014b50)
      return bad(path, "its directory is damaged");
    const uint8_t *entry = data.data() + at;
    uint16_t method = load<uint16_t>(entry + 10);
    uint64_t packed = load<uint32_t>(entry + 20);
    uint64_t plain = load<uint32_t>(entry + 24);
    uint16_t nameBytes = load<uint16_t>(entry + 28);
    uint16_t extraBytes = load<uint16_t>(entry + 30);
    uint16_t commentBytes = load<uint16_t>(entry + 32);
    uint64_t local = load<uint32_t>(entry + 42);
    if (data.size() - at < 46u + nameBytes + extraBytes + commentBytes)
      return bad(path, "its directory is damaged");
    std::string name(reinterpret_cast<const char *>(entry) + 46, nameBytes);
    // zip64: the fields that are all ones follow in an extra record, in order.
    const uint8_t *extra = entry + 46 + nameBytes;
    for (size_t e = 0; e + 4 <= extraBytes;) {
      uint16_t id = load<uint16_t>(extra + e);
      uint16_t length = load<uint16_t>(extra + e + 2);
      if (length > extraBytes - e - 4)
        return bad(path, "its directory is damaged");
      if (id == 1) {
        size_t field = e + 4, stop = e + 4 + length;
        for (uint64_t *value : {&plain, &packed, &local})
          if (*value == 0xffffffff && field + 8 <= stop) {
            *value = load<uint64_t>(extra + field);
            field += 8;
          }
      }
      e += 4 + length;
    }
    at += 46u + nameBytes + extraBytes + commentBytes;

    if (local > data.size() || data.size() - local < 30)
      return bad(path, "array '" + name + "' lies outside the file");
    uint64_t begin = local + 30 + load<uint16_t>(data.data() + local + 26) +
                     load<uint16_t>(data.data() + local + 28);
    if (begin > data.size() || packed > data.size() - begin ||
        plain > maxArrayBytes)
      return bad(path, "array '" + name + "' lies outside the file");
    std::vector<uint8_t> bytes;
    if (method == 0) {
      bytes.assign(data.begin() + begin, data.begin() + begin + packed);
    } else if (method == 8 && plain / 1100 <= packed) {
      bytes.resize(plain);
      if (!inflateRaw(data.data() + begin, packed, bytes))
        return bad(path, "array '" + name + "' does not decompress");
    } else {
      return bad(path, "array '" + name + "' is compressed in an unknown way");
    }
    auto array = parseNpy(bytes.data(), bytes.size(), path + ":" + name);
    if (!array)
      return array.takeError();
    if (name.size() > 4 && name.compare(name.size() - 4, 4, ".npy") == 0)
      name.resize(name.size() - 4);
    arrays[name] = array.take();
  }
  return arrays;
}

Status tools::writeNpy(const std::string &path, const NpyArray &array) {
  std::string shape;
  for (int64_t dim : array.shape)
    shape += std::to_string(dim) + ",";
  std::string order = dtypeBytes(array.dtype) == 1 ? "|" : "<";
  std::string header = "{'descr': '" + order + array.dtype +
                       "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.append((64 - (10 + header.size() + 1) % 64) % 64, ' ');
  header += '\n';
  uint16_t length = static_cast<uint16_t>(header.size());
  std::string temporary = path + ".tmp" + std::to_string(::getpid());
  std::FILE *out = std::fopen(temporary.c_str(), "wb");
  bool good = out != nullptr;
  if (out) {
    good = std::fwrite("\x93NUMPY\x01\x00", 1, 8, out) == 8 &&
           std::fwrite(&length, 1, 2, out) == 2 &&
           std::fwrite(header.data(), 1, header.size(), out) == header.size() &&
           std::fwrite(array.bytes.data(), 1, array.bytes.size(), out) ==
               array.bytes.size();
    good = std::fclose(out) == 0 && good;
  }
  if (!good || std::rename(temporary.c_str(), path.c_str()) != 0) {
    std::string why = std::strerror(errno);
    ::unlink(temporary.c_str());
    return makeError("EFF0103", "cannot write the array", path, why);
  }
  return {};
}
