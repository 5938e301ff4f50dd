#pragma once
// Style and script of the HTML report as compiled in by embed_assets.cmake, with their SHA-256 in
// hexadecimal: the page's content security policy allows exactly these two texts.
namespace vramplan {

extern const char* const kReportCss;
extern const char* const kReportCssSha256;
extern const char* const kReportJs;
extern const char* const kReportJsSha256;

}  // namespace vramplan
