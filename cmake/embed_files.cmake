# Turns files into one C++ source that holds their bytes, content types and SHA-256, sorted by name, behind a function of a header:
#   cmake -DOUT=web_files.cc "-DFILES=a.js;b.css" -DHEADER=server/web_files.h -DFUNCTION=WebFiles -P embed_files.cmake
# A file whose ending has no content type below is an error, not a guess.
set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_svg "image/svg+xml")

list(SORT FILES)
set(arrays "")
set(rows "")
set(number 0)
foreach(file IN LISTS FILES)
  get_filename_component(name "${file}" NAME)
  get_filename_component(ending "${file}" LAST_EXT)
  string(SUBSTRING "${ending}" 1 -1 ending)
  if(NOT DEFINED type_${ending})
    message(FATAL_ERROR "${file} ends in .${ending} but must end in .html, .css, .js or .svg")
  endif()
  file(SHA256 "${file}" sha256)
  file(READ "${file}" bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n    " bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1, " bytes "${bytes}")
  # The closing zero makes an empty file an array too; it is not counted.
  string(APPEND arrays "constexpr unsigned char kBytes${number}[] = {\n    ${bytes}0};\n")
  string(APPEND rows "    {\"/${name}\", \"${type_${ending}}\", \"${sha256}\", View(kBytes${number})},\n")
  math(EXPR number "${number} + 1")
endforeach()

file(WRITE "${OUT}.new" "// Made by cmake/embed_files.cmake.
#include \"${HEADER}\"

namespace cadre {
namespace {

${arrays}
template <size_t kSize>
std::string_view View(const unsigned char (&bytes)[kSize]) {
  return {reinterpret_cast<const char*>(bytes), kSize - 1};
}

}  // namespace

std::span<const EmbeddedFile> ${FUNCTION}() {
  static const EmbeddedFile files[] = {
${rows}  };
  return files;
}

}  // namespace cadre
")
file(RENAME "${OUT}.new" "${OUT}")
