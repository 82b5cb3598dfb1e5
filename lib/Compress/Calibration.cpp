//===- Calibration.cpp - saving and loading statistics --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Codes.h"
#include "ObserverArchive.h"
#include "effc/Compress/Observers.h"

#include <nlohmann/json.hpp>

#include <cstring>
#include <fstream>
#include <sstream>

namespace effc::compress {

using json = nlohmann::ordered_json;

//===----------------------------------------------------------------------===//
// Fingerprint
//===----------------------------------------------------------------------===//

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static uint64_t finish(uint64_t x) {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccd;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53;
  return x ^ x >> 33;
}

/// One block of MurmurHash3 x64 128.
void Fingerprint::mix(uint64_t a, uint64_t b) {
  constexpr uint64_t c1 = 0x87c37b91114253d5, c2 = 0x4cf5ad432745937f;
  h1 ^= rotate(a * c1, 31) * c2;
  h1 = (rotate(h1, 27) + h2) * 5 + 0x52dce729;
  h2 ^= rotate(b * c2, 33) * c1;
  h2 = (rotate(h2, 31) + h1) * 5 + 0x38495ab5;
}

void Fingerprint::update(const void *data, size_t size) {
  auto *bytes = static_cast<const unsigned char *>(data);
  auto mixBlock = [&](const unsigned char *block) {
    uint64_t words[2];
    std::memcpy(words, block, 16);
    mix(words[0], words[1]);
  };
  size_t used = length % 16;
  length += size;
  if (used) {
    size_t taken = std::min(size, 16 - used);
    if (taken)
      std::memcpy(tail + used, bytes, taken);
    bytes += taken;
    size -= taken;
    if (used + taken < 16)
      return;
    mixBlock(tail);
  }
  for (; size >= 16; bytes += 16, size -= 16)
    mixBlock(bytes);
  if (size)
    std::memcpy(tail, bytes, size);
}

void Fingerprint::updateText(const std::string &text) {
  uint64_t size = text.size();
  update(&size, sizeof size);
  update(text.data(), text.size());
}

std::string Fingerprint::hex() const {
  Fingerprint last = *this;
  size_t used = length % 16;
  std::memset(last.tail + used, 0, 16 - used);
  uint64_t words[2];
  std::memcpy(words, last.tail, 16);
  last.mix(words[0], words[1]);
  uint64_t a = last.h1 ^ length, b = last.h2 ^ length;
  a += b;
  b += a;
  a = finish(a);
  b = finish(b);
  a += b;
  b += a;
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (uint64_t word : {a, b})
    for (int shift = 60; shift >= 0; shift -= 4)
      text += digits[word >> shift & 15];
  return text;
}

static std::string hashOf(const std::string &bytes) {
  Fingerprint fingerprint;
  fingerprint.update(bytes.data(), bytes.size());
  return fingerprint.hex();
}

//===----------------------------------------------------------------------===//
// Archives
//===----------------------------------------------------------------------===//

namespace {

template <typename T> const char *typeName();
template <> const char *typeName<float>() { return "f32"; }
template <> const char *typeName<double>() { return "f64"; }
template <> const char *typeName<uint64_t>() { return "u64"; }

class Writer : public ObserverArchive {
public:
  explicit Writer(std::string &bytes) : bytes(bytes) {}
  void array(const char *name, std::vector<float> &v) override { put(name, v); }
  void array(const char *name, std::vector<double> &v) override {
    put(name, v);
  }
  void array(const char *name, std::vector<uint64_t> &v) override {
    put(name, v);
  }
  json arrays = json::object();

private:
  template <typename T> void put(const char *name, const std::vector<T> &v) {
    bytes.resize((bytes.size() + 7) / 8 * 8);
    arrays[name] = {
        {"type", typeName<T>()}, {"count", v.size()}, {"offset", bytes.size()}};
    bytes.append(reinterpret_cast<const char *>(v.data()),
                 v.size() * sizeof(T));
  }
  std::string &bytes;
};

class Reader : public ObserverArchive {
public:
  Reader(const json &arrays, const std::string &bytes)
      : arrays(arrays), bytes(bytes) {}
  void array(const char *name, std::vector<float> &v) override { get(name, v); }
  void array(const char *name, std::vector<double> &v) override {
    get(name, v);
  }
  void array(const char *name, std::vector<uint64_t> &v) override {
    get(name, v);
  }
  bool failed = false;

private:
  template <typename T> void get(const char *name, std::vector<T> &v) {
    auto entry = arrays.find(name);
    if (entry == arrays.end() || !entry->is_object() ||
        entry->value("type", json()) != typeName<T>()) {
      failed = true;
      return;
    }
    json count = entry->value("count", json()),
         offset = entry->value("offset", json());
    if (!count.is_number_unsigned() || !offset.is_number_unsigned()) {
      failed = true;
      return;
    }
    uint64_t n = count.get<uint64_t>(), start = offset.get<uint64_t>();
    if (start > bytes.size() || n > (bytes.size() - start) / sizeof(T)) {
      failed = true;
      return;
    }
    v.resize(n);
    if (n)
      std::memcpy(v.data(), bytes.data() + start, n * sizeof(T));
  }
  const json &arrays;
  const std::string &bytes;
};

} // namespace

static Error damaged(const std::string &why) {
  return makeError(Code::DamagedCalibration, "the calibration is damaged", why);
}

//===----------------------------------------------------------------------===//
// Calibration
//===----------------------------------------------------------------------===//

static constexpr int kVersion = 1;

Result<Observer *> Calibration::add(const std::string &name,
                                    const ObserverSettings &settings) {
  if (observers.count(name) || aliases.count(name))
    return badSetting("'" + name + "' is observed twice");
  Result<std::unique_ptr<Observer>> observer = Observer::create(settings);
  if (!observer)
    return observer.takeError();
  return (observers[name] = observer.take()).get();
}

Status Calibration::addAlias(const std::string &alias,
                             const std::string &name) {
  if (observers.count(alias) || aliases.count(alias))
    return badSetting("'" + alias + "' is observed twice");
  if (!observers.count(name))
    return badSetting("'" + alias + "' stands for '" + name +
                      "', which is not observed");
  aliases[alias] = name;
  return Status::success();
}

const Observer *Calibration::find(const std::string &name) const {
  auto alias = aliases.find(name);
  auto entry = observers.find(alias == aliases.end() ? name : alias->second);
  return entry == observers.end() ? nullptr : entry->second.get();
}
Observer *Calibration::find(const std::string &name) {
  const Calibration &self = *this;
  return const_cast<Observer *>(self.find(name));
}

Status Calibration::checkModel(const std::string &model) const {
  if (fingerprint == model)
    return Status::success();
  return makeError(
      Code::StaleCalibration, "the calibration belongs to another model",
      "it was taken from " + fingerprint + ", the model is " + model);
}

Result<Calibration::Files>
Calibration::serialize(const std::string &arraysName) const {
  Files files;
  json list = json::object();
  for (auto &[name, observer] : observers) {
    if (observer->openRows)
      return badSetting("the sample that '" + name +
                        "' observes is not complete");
    const ObserverSettings &settings = observer->settings;
    Writer writer(files.arrays);
    observer->visit(writer);
    json entry = {
        {"kind", getName(settings.kind)}, {"channels", settings.channels},
        {"group", settings.group},        {"alpha", settings.alpha},
        {"sigma", settings.sigma},        {"samples", observer->samples},
        {"rows", observer->rows}};
    // For the reader's eyes; loading ignores it.
    if (settings.kind != ObserverKind::Hessian && observer->samples)
      if (Result<std::vector<float>> values = observer->getValues()) {
        double least = (*values)[0], largest = least;
        for (float value : *values) {
          least = std::min<double>(least, value);
          largest = std::max<double>(largest, value);
        }
        entry["summary"] = {
            {"values", values->size()}, {"least", least}, {"largest", largest}};
      }
    entry["arrays"] = std::move(writer.arrays);
    list[name] = std::move(entry);
  }
  json root = {{"format", "effc-calibration"},
               {"version", kVersion},
               {"model", fingerprint},
               {"description", description},
               {"file",
                {{"name", arraysName},
                 {"bytes", files.arrays.size()},
                 {"hash", hashOf(files.arrays)}}},
               {"observers", std::move(list)},
               {"aliases", aliases}};
  files.json = root.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  return files;
}

/// The member of an object if it has the wanted type.
template <typename T>
static bool get(const json &object, const char *name, T &value) {
  auto entry = object.find(name);
  if (entry == object.end())
    return false;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!entry->is_string())
      return false;
  } else if constexpr (std::is_same_v<T, double>) {
    if (!entry->is_number())
      return false;
  } else if (!entry->is_number_integer()) {
    return false;
  }
  value = entry->get<T>();
  return true;
}

/// What an observer's arrays need at least.
static double getLeastBytes(const ObserverSettings &settings) {
  double channels = double(settings.channels);
  switch (settings.kind) {
  case ObserverKind::ChannelAbsMax:
  case ObserverKind::ChannelMean:
  case ObserverKind::ChannelMeanMax:
    return 4 * channels;
  case ObserverKind::GroupAbsMax:
    return 4 * channels / double(std::max<int64_t>(settings.group, 1));
  case ObserverKind::Hessian:
    return 4 * channels * channels;
  default:
    return 0;
  }
}

Result<Calibration> Calibration::deserialize(const std::string &text,
                                             const std::string &arrays) {
  json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::string format;
  if (!root.is_object() || !get(root, "format", format) ||
      format != "effc-calibration")
    return damaged("the JSON text is not a calibration");
  int64_t version = 0;
  if (!get(root, "version", version) || version < 1)
    return damaged("it has no version");
  if (version > kVersion)
    return makeError(Code::DamagedCalibration,
                     "the calibration is newer than this effc",
                     "it has version " + std::to_string(version) +
                         ", this effc knows " + std::to_string(kVersion));
  Calibration result;
  auto file = root.find("file"), list = root.find("observers");
  int64_t bytes = 0;
  std::string hash;
  if (!get(root, "model", result.fingerprint) ||
      !get(root, "description", result.description) || file == root.end() ||
      !file->is_object() || !get(*file, "bytes", bytes) ||
      !get(*file, "hash", hash) || list == root.end() || !list->is_object())
    return damaged("a part of the JSON text is missing");
  if (bytes != int64_t(arrays.size()))
    return damaged("the arrays have " + std::to_string(arrays.size()) +
                   " bytes instead of " + std::to_string(bytes));
  if (hash != hashOf(arrays))
    return damaged("the arrays are not those that were saved");

  for (auto &[name, entry] : list->items()) {
    ObserverSettings settings;
    std::string kind;
    int64_t samples = 0, rows = 0;
    if (!entry.is_object() || !get(entry, "kind", kind) ||
        !get(entry, "channels", settings.channels) ||
        !get(entry, "group", settings.group) ||
        !get(entry, "alpha", settings.alpha) ||
        !get(entry, "sigma", settings.sigma) ||
        !get(entry, "samples", samples) || !get(entry, "rows", rows) ||
        samples < 0 || rows < samples)
      return damaged("the entry of '" + name + "' is not complete");
    Result<ObserverKind> parsed = parseObserverKind(kind);
    if (!parsed)
      return parsed.takeError();
    settings.kind = *parsed;
    // A wrong count is found before memory is asked for.
    if (getLeastBytes(settings) > double(arrays.size()))
      return damaged("'" + name + "' has more channels than the file has room");
    Result<Observer *> observer = result.add(name, settings);
    if (!observer)
      return observer.takeError();
    (*observer)->samples = samples;
    (*observer)->rows = rows;
    auto its = entry.find("arrays");
    if (its == entry.end() || !its->is_object())
      return damaged("'" + name + "' has no arrays");
    Reader reader(*its, arrays);
    (*observer)->visit(reader);
    if (reader.failed || !(*observer)->isConsistent())
      return damaged("the arrays of '" + name + "' do not fit its settings");
  }
  if (auto names = root.find("aliases"); names != root.end()) {
    if (!names->is_object())
      return damaged("its aliases are not a list of names");
    for (auto &[alias, name] : names->items()) {
      Status status =
          name.is_string()
              ? result.addAlias(alias, name.get<std::string>())
              : Status(badSetting("'" + alias + "' stands for no name"));
      if (!status)
        return damaged(status.error().what);
    }
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

static Status writeFile(const std::string &path, const std::string &text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(text.data(), std::streamsize(text.size()));
  file.close();
  if (!file)
    return makeError(Code::CannotWrite, "cannot write '" + path + "'");
  return Status::success();
}

static Result<std::string> readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file)
    text << file.rdbuf();
  if (!file)
    return makeError(Code::FileNotFound, "cannot read '" + path + "'");
  return text.str();
}

Status Calibration::save(const std::string &path) const {
  size_t slash = path.find_last_of('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  Result<Files> files = serialize(name + ".bin");
  if (!files)
    return files.takeError();
  if (Status status = writeFile(path + ".bin", files->arrays); !status)
    return status;
  return writeFile(path, files->json);
}

Result<Calibration> Calibration::load(const std::string &path) {
  Result<std::string> text = readFile(path);
  if (!text)
    return text.takeError();
  Result<std::string> arrays = readFile(path + ".bin");
  if (!arrays)
    return arrays.takeError();
  return deserialize(*text, *arrays);
}

} // namespace effc::compress
