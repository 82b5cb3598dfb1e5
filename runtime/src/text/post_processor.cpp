//===- post_processor.cpp - tokens around the tokens of a text ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "post_processor.h"

namespace effrt {

Result<PostProcessor> PostProcessor::fromJson(const JsonRef &json) {
  PostProcessor processor;
  if (Status s =
          eachComponent(json, "processors",
                        [&](const JsonRef &part, const std::string &type) {
                          return processor.add(part, type);
                        });
      !s)
    return s;
  return processor;
}

Status PostProcessor::add(const JsonRef &json, const std::string &type) {
  if (type == "ByteLevel") // moves offsets only
    return Status::success();
  if (type == "TemplateProcessing")
    return addTemplate(json);
  return json.unsupported("the post-processor \"" + type + '"');
}

Status PostProcessor::addTemplate(const JsonRef &json) {
  JsonRef single = json.get("single");
  if (Status s = single.isArray(); !s)
    return s;
  std::vector<TokenId> parts[2]; // before and after the text
  bool sawText = false;
  for (size_t i = 0; i < single.value().size(); ++i) {
    JsonRef item = single.at(i);
    if (JsonRef sequence = item.get("Sequence"); !sequence.isNull()) {
      Result<std::string> name = sequence.get("id").text();
      if (!name)
        return name.takeError();
      if (*name != "A" || sawText)
        return item.fault("a template for one text has the sequence A once");
      sawText = true;
      continue;
    }
    JsonRef special = item.get("SpecialToken");
    Result<std::string> name = special.get("id").text();
    if (!name)
      return name.takeError();
    JsonRef ids = json.get("special_tokens").get(*name).get("ids");
    if (Status s = ids.isArray(); !s)
      return s;
    for (size_t k = 0; k < ids.value().size(); ++k) {
      Result<uint32_t> id = ids.at(k).number();
      if (!id)
        return id.takeError();
      parts[sawText].push_back(*id);
    }
  }
  if (!sawText)
    return single.fault("a template for one text has the sequence A once");
  // The template of a later processor goes around that of an earlier one.
  before.insert(before.begin(), parts[0].begin(), parts[0].end());
  after.insert(after.end(), parts[1].begin(), parts[1].end());
  return Status::success();
}

} // namespace effrt
