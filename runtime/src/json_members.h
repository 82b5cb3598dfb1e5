//===- json_members.h - the members of a JSON object, unparsed ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_JSON_MEMBERS_H
#define EFFRT_SRC_JSON_MEMBERS_H

#include <string>
#include <string_view>
#include <vector>

namespace effrt {

struct JsonMember {
  std::string key; ///< as written, escapes and all
  std::string_view value;
};

/// Splits the text of an object at its top level. False when it is not one, has
/// brackets that do not match, or nests deeper than 256. What the values are
/// otherwise is left to whoever parses them.
bool splitMembers(std::string_view text, std::vector<JsonMember> &members);

} // namespace effrt

#endif // EFFRT_SRC_JSON_MEMBERS_H
